"""The page of all tasks: filters that stand in the address, sorting, paging; the table is `table`'s."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from qme.errors import InvalidRequest
from qme_dashboard.queries import SORTS, Filter, Paging
from qme_dashboard.rows import GROUPS
from qme_dashboard.ui import parts, table
from qme_dashboard.words import count, plain

#: tasks on one page
SIZE = 25
_STATES = [
    *GROUPS,
    "failed",
    "timeout",
    "out_of_memory",
    "node_fail",
    "deadline",
    "preempted",
    "submit_failed",
]

#: of a filter's widget: it stands in the address, and comes back with the page
_KEPT: dict[str, Any] = {"bind": "query-params", "persist_state": "session"}


def page() -> None:
    """Draw the page."""
    if "task" in st.query_params:
        # On the way to a task Streamlit leaves this address behind, which a browser's Back leads to.
        st.switch_page(st.session_state["pages"]["tasks"], query_params=st.session_state.get("filters") or {})
    st.title("Tasks", anchor=False)
    wanted, order = _filters(), _order()

    @st.fragment(run_every=parts.every())
    def listed() -> None:
        parts.notice_executors()
        parts.remember_filters()
        if parts.hub().store.loaded:
            _listed(wanted, order)

    listed()


def _filters() -> Filter:
    store = parts.hub().store
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.text_input(
            "Search",
            key="q",
            type="search",
            live=True,
            placeholder="regular expression",
            help="Ids, commands, messages and data; upper and lower case alike",
            width=230,
            **_KEPT,
        )
        states = st.multiselect("State", _STATES, key="state", width=200, placeholder="any", **_KEPT)
        executor = _choice("Executor", parts.executor_names(), "executor")
        user = _choice("User", store.choices("user") if store.loaded else [], "user")
        label = st.text_input("Label", key="label", placeholder="key=value", width=130, **_KEPT)
    mine = st.session_state.get("mine", st.query_params.get("mine") == "true")
    who = parts.person()
    me = who.name if who.named else parts.hub().user
    key, _, value = (label or "").partition("=")
    return Filter(
        executor=executor,
        user=me if mine else user,
        states=frozenset(states),
        labels={key.strip(): value.strip()} if key.strip() else {},
        query=query or "",
    )


def _order() -> Paging:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sort = st.selectbox("Sort by", [*SORTS], key="sort", width=230, **_KEPT)
        ascending = st.toggle("Ascending", key="up", **_KEPT)
        st.toggle("Only mine", key="mine", **_KEPT)
        with st.popover("Columns", icon=":material/view_column:"):
            st.multiselect("Columns", table.CHOICE, default=table.COLUMNS, key="columns", **_KEPT)
    return Paging(sort=sort, descending=not ascending, size=SIZE)


def _choice(label: str, values: list[str], key: str) -> str:
    # What the address asks for may be gone meanwhile, and is still what was asked for.
    asked = st.query_params.get(key)
    names = ["", *values, *([asked] if asked and asked not in values else [])]
    return (
        st.selectbox(label, names, key=key, width=110, format_func=lambda name: name or "all", **_KEPT) or ""
    )


def _listed(wanted: Filter, order: Paging) -> None:
    store = parts.hub().store
    try:
        total, rows = store.page(wanted, order)
    except InvalidRequest as error:
        st.error(plain(error.message))
        return
    if not total:
        _nothing(wanted)
        return
    pages = -(-total // SIZE)
    at = 1
    if pages > 1:
        at = min(st.pagination(pages, key="page", bind="query-params"), pages)
        order = replace(order, page=at)
        _, rows = store.page(wanted, order)
    first = (at - 1) * SIZE
    said = f"{first + 1:,} to {first + len(rows):,} of {count(total, 'task')}"
    table.draw(wanted, order, "tasks", rows, said, st.session_state.get("columns") or table.COLUMNS)


def _nothing(wanted: Filter) -> None:
    if wanted == Filter():
        st.info("No task yet. Submit one from any terminal:", icon=":material/rocket_launch:")
        st.code("qme run echo hello moto", language=None)
    else:
        st.info(
            "No task fits these filters. Take one of them away, or search for less.",
            icon=":material/filter_alt_off:",
        )
