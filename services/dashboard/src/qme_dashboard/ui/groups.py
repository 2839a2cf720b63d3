"""The groups of tasks, and one of them: how far it is, what waits for what, when what ran, and its tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from qme.client import AsyncClient, groups
from qme.client.listing import Wanted
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme_dashboard import deeds, queries
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.rows import GROUPS
from qme_dashboard.ui import dialogs, drawing, parts, table
from qme_dashboard.words import count, moment, plain, span

#: groups that are listed, and tasks on one page of a group
SHOWN, SIZE = 200, 25
_ENDED = ("success", "failure", "cancelled", "lost")


def page() -> None:
    """Draw the page: one group where the address names it, else all."""
    name, user = st.query_params.get("name"), st.query_params.get("user") or parts.hub().user
    st.title(f"@{plain(name)}" if name else "Groups", anchor=False)

    @st.fragment(run_every=parts.every())
    def live() -> None:
        parts.notice_executors()
        if not parts.hub().store.loaded:
            return
        if name:
            _group(name, user)
        else:
            _list()

    live()


def link(name: str, user: str) -> None:
    """Draw a link to a group's page."""
    target = st.session_state["pages"]["groups"]
    st.page_link(
        target,
        label=f"@{plain(name)}",
        icon=":material/account_tree:",
        query_params={"name": name, "user": user},
    )


def _list() -> None:
    rows = parts.hub().store.rows(queries.bundles(SHOWN))
    if not rows:
        st.info("No group yet. Tasks that belong together make one:", icon=":material/account_tree:")
        st.code("qme submit --group nightly make test\nqme submit --workflow flow.toml", language=None)
        return
    st.dataframe(
        [
            {
                "group": row["bundle"],
                "user": row["user"],
                "ended": 100 * sum(row[name] for name in _ENDED) / row["n"],
                "tasks": row["n"],
                **{name: row[name] for name in GROUPS[:-1]},
                "begun": moment(row["begun"]),
            }
            for row in rows
        ],
        hide_index=True,
        height="content",
        column_config={
            "group": st.column_config.ButtonColumn("group", key="group-open", type="tertiary"),
            "ended": st.column_config.ProgressColumn("ended", min_value=0, max_value=100, format="%d%%"),
            "begun": st.column_config.DatetimeColumn("begun", format="distance", width=122),
        },
        alt="groups",
    )
    clicked = st.session_state.get("group-open")
    if clicked:
        # Two users may have groups of one name: then the place decides, as of when it was drawn.
        row = next((row for row in rows if row["bundle"] == clicked["label"]), None)
        if row is not None:
            st.switch_page(
                st.session_state["pages"]["groups"], query_params={"name": row["bundle"], "user": row["user"]}
            )


def _group(name: str, user: str) -> None:
    store, wanted = parts.hub().store, Filter(group=name, user=user)
    counts = store.groups(wanted)
    total = sum(counts.values())
    if not total:
        st.info(f"{plain(user)} has no group of this name.", icon=":material/filter_alt_off:")
        st.page_link(st.session_state["pages"]["groups"], label="All groups", query_params={})
        return
    rows = store.rows(queries.members(name, user, max(drawing.NODES, drawing.BARS) + 1))
    _progress(counts, total, rows, user)
    _buttons(name, user, counts)
    _graph(rows, total)
    _bars(rows, total)
    st.subheader("Tasks", anchor=False)
    order = Paging(size=SIZE)
    pages = -(-total // SIZE)
    if pages > 1:
        order = replace(order, page=min(st.pagination(pages, key="group-page"), pages))
    _, listed = store.page(wanted, order)
    columns = ("name", *(column for column in table.COLUMNS if column != "user"))
    table.draw(wanted, order, "group", listed, count(total, "task"), columns)


def _progress(counts: dict[str, int], total: int, rows: list[dict[str, Any]], user: str) -> None:
    ended = sum(counts[name] for name in _ENDED)
    with st.container(horizontal=True, gap="xsmall"):
        st.badge(plain(user), icon=":material/person:", color="gray")
        st.badge(f"{ended:,} of {count(total, 'task')} ended", color="gray")
        for name in GROUPS:
            if counts[name]:
                st.badge(f"{parts.MARKS[name]} {counts[name]:,} {name}", color=parts.COLOURS[name])
    pieces = "".join(
        f'<div title="{name}" style="width:{counts[name] / total:.2%};background:{parts.INKS[name]}"></div>'
        for name in (*_ENDED, "running", "queued", "unreadable")
        if counts[name]
    )
    st.html(f'<div style="display:flex;height:12px;border-radius:6px;overflow:hidden">{pieces}</div>')
    begins = [row["started"] for row in rows if row["started"] is not None]
    ends = [row["finished"] for row in rows if row["finished"] is not None]
    if begins and len(rows) == total:
        end = max(ends) if ended == total and ends else time.time()
        work = sum((row["finished"] or end) - row["started"] for row in rows if row["started"] is not None)
        took = span(end - min(begins))
        said = f"It took {took}" if ended == total else f"It began {took} ago"
        st.caption(f"{said}; {span(work)} of run time in all.")


def _buttons(name: str, user: str, counts: dict[str, int]) -> None:
    off = not parts.person().may_act
    with st.container(horizontal=True):
        broken = counts["failure"] + counts["lost"]
        if st.button(
            "Rerun what failed", icon=":material/replay:", key="rerun-failed", disabled=off or not broken
        ):
            _confirm("rerun", lambda client: _failed(client, name, user))
        going = counts["queued"] + counts["running"]
        if st.button(
            "Cancel what is open", icon=":material/cancel:", key="cancel-open", disabled=off or not going
        ):
            _confirm("cancel", lambda client: _open(client, name, user))
    if off:
        parts.read_only_note()


def _confirm(verb: str, which: Callable[[AsyncClient], Coroutine[Any, Any, Sequence[TaskRecord]]]) -> None:
    try:
        records = parts.hub().call(which)
    except QmeError as error:
        st.error(plain(error.message), icon=":material/error:")
        return
    targets = [groups.target(record) for record in records[: deeds.MOST]]
    dialogs.confirm(verb, targets, parts.hub().store.named([target.uuid for target in targets]))


async def _current(client: AsyncClient, name: str, user: str) -> list[TaskRecord]:
    wanted = Wanted(user=user, group=name)
    found = [item async for item in client.stream(wanted) if isinstance(item, TaskRecord)]
    return groups.current(sorted(found, key=lambda record: (record.created, record.uuid)))


async def _failed(client: AsyncClient, name: str, user: str) -> Sequence[TaskRecord]:
    """Give what failed, and what was cancelled on account of that."""
    return groups.failed(await _current(client, name, user))


async def _open(client: AsyncClient, name: str, user: str) -> Sequence[TaskRecord]:
    return [record for record in await _current(client, name, user) if not record.ended]


def _graph(rows: list[dict[str, Any]], total: int) -> None:
    wanted = {uuid for row in rows for uuid, _ in drawing.parents(row)}
    if not wanted:
        return
    st.subheader("What waits for what", anchor=False)
    if total > drawing.NODES:
        st.caption(f"{count(total, 'task')} are too many for a drawing; it can hold {drawing.NODES}.")
        return
    outside = sorted(wanted - {row["uuid"] for row in rows})[: drawing.NODES]
    drawing.dependencies(rows, parts.hub().store.named(outside) if outside else [])


def _bars(rows: list[dict[str, Any]], total: int) -> None:
    st.subheader("When they ran", anchor=False)
    if total > drawing.BARS:
        st.caption(f"The first {drawing.BARS} of {count(total, 'task')}.")
    drawing.bars(rows)
