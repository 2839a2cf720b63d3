"""The first page: how many tasks stand where, what ended lately and how, who works, what failed."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from qme_dashboard import figures, queries
from qme_dashboard.figures import WINDOWS, Window
from qme_dashboard.rows import GROUPS
from qme_dashboard.ui import charts, parts, workers
from qme_dashboard.words import ago, moment, rough, short, span

#: failures that are listed
FAILURES = 8
#: pixels of a tile: eight beside each other at 1280, three on a phone
TILE = 114
ICONS = {
    "queued": ":material/schedule:",
    "running": ":material/play_arrow:",
    "success": ":material/check:",
    "failure": ":material/close:",
    "cancelled": ":material/block:",
    "lost": ":material/question_mark:",
    "unreadable": ":material/priority_high:",
}


def page() -> None:
    """Draw the page."""
    st.title("Overview", anchor=False)
    picked = st.segmented_control(
        "Window",
        [*WINDOWS],
        default="1 h",
        key="window",
        required=True,
        label_visibility="collapsed",
        bind="query-params",
    )
    window = WINDOWS[picked or "1 h"]

    @st.fragment(run_every=parts.every())
    def live() -> None:
        parts.notice_executors()
        if parts.hub().store.loaded:
            _live(window)

    live()


def _live(window: Window) -> None:
    now = time.time()
    groups = parts.hub().store.groups()
    _tiles(groups, window, now)
    if not sum(groups.values()):
        st.info(
            "No task yet. Submit one from any terminal, and watch it here:", icon=":material/rocket_launch:"
        )
        st.code("qme run echo hello moto", language=None)
    else:
        left, right = st.columns([3, 2])
        with left:
            _throughput(window, now)
        with right:
            _spans(window, now)
            _backlog(now)
        _failures()
    st.subheader("Workers", anchor=False)
    workers.draw(since=now - window.seconds)


def _tiles(groups: dict[str, int], window: Window, now: float) -> None:
    page = st.session_state["pages"]["tasks"]
    names = [name for name in GROUPS if groups[name] or name != "unreadable"]
    with st.container(horizontal=True, gap="xsmall"):
        for name in names:
            with _tile(name):
                st.page_link(page, label=name, icon=ICONS[name], query_params={"state": name})
                st.metric(name, f"{groups[name]:,}", label_visibility="collapsed")
        with _tile("oldest"):
            oldest = min((row["oldest"] for row in parts.hub().store.rows(queries.backlog())), default=None)
            st.page_link(page, label="oldest", icon=":material/hourglass_top:", help="Of what is queued",
                         query_params={"state": "queued", "sort": "created", "up": "true"})  # fmt: skip
            waits = rough(None if oldest is None else now - oldest)
            st.metric("oldest queued", waits, label_visibility="collapsed")
        with _tile("failing"):
            share, before = _failing(window, now)
            was = "" if before is None else f"; it was {before:.0%} in the window before"
            st.page_link(page, label="failed", icon=":material/percent:", help=f"Of what ended in this window{was}",
                         query_params={"state": "failure", "sort": "finished"})  # fmt: skip
            st.metric("failed", "-" if share is None else f"{share:.0%}", label_visibility="collapsed")


def _tile(name: str) -> Any:
    return st.container(border=True, width=TILE, height=84, key=f"tile-{name}", gap=None)


def _ended(window: Window, now: float) -> list[dict[str, Any]]:
    since = now // window.step * window.step - 2 * window.seconds
    return parts.hub().store.rows(queries.ended_per(window.step, since))


def _failing(window: Window, now: float) -> tuple[float | None, float | None]:
    """Give the share of failures in the window, and in the one before."""
    rows, begin = _ended(window, now), now - window.seconds
    return figures.failure_share(rows, begin, now + 1), figures.failure_share(
        rows, begin - window.seconds, begin
    )


def _throughput(window: Window, now: float) -> None:
    st.subheader("Ended per minute", anchor=False)
    charts.stacked(figures.stacked(_ended(window, now), window, now))


def _spans(window: Window, now: float) -> None:
    store = parts.hub().store
    st.subheader("Wait and run time", anchor=False)
    for label, which in (("wait", "wait"), ("run", "run")):
        middle, high = store.quantiles(which, now - window.seconds)
        with st.container(horizontal=True):
            st.metric(f"median {label}", span(middle))
            st.metric(f"{label}, 95 % below", span(high))


def _backlog(now: float) -> None:
    st.subheader("Backlog", anchor=False)
    rows = parts.hub().store.rows(queries.backlog())
    if not rows:
        st.caption("Nothing waits.")
        return
    lines = [
        {
            "executor": row["executor"],
            "pool": row["pool"],
            "queued": row["n"],
            "oldest": ago(row["oldest"], now),
        }
        for row in rows
    ]
    st.dataframe(lines, hide_index=True, height="content", alt="queued tasks by executor and pool")


def _failures() -> None:
    st.subheader("Recent failures", anchor=False)
    wanted = queries.Filter(states=frozenset({"failure", "lost"}))
    _, rows = parts.hub().store.page(wanted, queries.Paging(sort="finished", size=FAILURES))
    if not rows:
        st.caption("None. Tasks that fail show up here, with the last line of their stderr.")
        return
    st.dataframe(
        [_failure(row) for row in rows],
        key="failures",
        hide_index=True,
        height="content",
        column_config={
            "id": st.column_config.ButtonColumn("id", key="failure-open", width=88, type="tertiary"),
            "when": st.column_config.DatetimeColumn("when", format="distance", width=122),
            "state": st.column_config.TextColumn("state", width=112),
            "exit": st.column_config.TextColumn("exit", width=48),
            "last line of stderr": st.column_config.TextColumn(width=310),
            "command": st.column_config.TextColumn(width=240),
        },
        alt="recent failures",
    )
    clicked = st.session_state.get("failure-open")
    for row in rows:
        if clicked and short(row["uid"]) == clicked["label"]:
            parts.open_task(row["executor"], row["uid"])


def _failure(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": short(row["uid"]),
        "when": moment(row["finished"]),
        "state": parts.state_of(row),
        "exit": "" if row["returncode"] is None else str(row["returncode"]),
        "last line of stderr": row["complaint"] or row["reason"] or "",
        "command": row["command"],
        "user": row["user"],
    }
