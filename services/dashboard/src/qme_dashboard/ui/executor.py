"""An executor's page: its tasks and workers, or one task where the address names it."""

from __future__ import annotations

import time

import streamlit as st

from qme_dashboard.queries import Filter, Paging
from qme_dashboard.ui import parts, table, task, workers
from qme_dashboard.words import count, plain

#: tasks on one page
SIZE = 15


def page(name: str) -> None:
    """Draw the page."""
    uid = st.query_params.get("task")
    if uid:
        task.page(name, uid)
        return
    st.title(name, anchor=False)

    @st.fragment(run_every=parts.every())
    def live() -> None:
        parts.notice_executors()
        _about(name)
        workers.draw(name, since=time.time() - workers.WINDOW)
        if parts.hub().store.loaded:
            _tasks(name)

    live()


def _about(name: str) -> None:
    for known in parts.hub().executors:
        definition = known.definition
        if definition.executor != name:
            continue
        takes = f"`{definition.matchstring}`" if definition.matchstring is not None else ""
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(f"pool {plain(definition.pool)}", color="gray")
            st.badge(f"account {plain(definition.account)}", color="gray")
            if not known.approved:
                st.badge("not approved", color="orange")
            if takes:
                st.caption("takes")
                st.code(definition.matchstring, language=None, width="content")
            else:
                st.caption("takes what no other executor matches")


def _tasks(name: str) -> None:
    store, wanted = parts.hub().store, Filter(executor=name)
    st.subheader("Tasks", anchor=False)
    order = Paging(size=SIZE)
    total, rows = store.page(wanted, order)
    if not total:
        st.caption(f"None yet. `qme match CMD` tells which commands go to {plain(name)}.")
        return
    pages = -(-total // SIZE)
    if pages > 1:
        order = Paging(size=SIZE, page=min(st.pagination(pages, key=f"{name}-page"), pages))
        _, rows = store.page(wanted, order)
    columns = [column for column in table.COLUMNS if column != "executor"]
    table.draw(wanted, order, name, rows, count(total, "task"), columns)
