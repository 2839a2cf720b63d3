"""The first page: how many tasks stand where, what ended lately and how, who works, what failed."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from qme_dashboard import figures, queries
from qme_dashboard.figures import STACK, WINDOWS, Window
from qme_dashboard.rows import GROUPS
from qme_dashboard.ui import parts, workers
from qme_dashboard.words import ago, moment, short, span

#: failures that are listed
FAILURES = 8


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
    store = parts.hub().store
    groups = store.groups()
    _tiles(groups)
    if not sum(groups.values()):
        st.info(
            "No task yet. Submit one from any terminal, and watch it here:", icon=":material/rocket_launch:"
        )
        st.code("qme run echo hello moto", language=None)
    else:
        now = time.time()
        left, right = st.columns([3, 2])
        with left:
            _throughput(window, now)
        with right:
            _spans(window, now)
            _backlog(now)
        _failures()
    st.subheader("Workers", anchor=False)
    workers.draw()


def _tiles(groups: dict[str, int]) -> None:
    page = st.session_state["pages"]["tasks"]
    names = [name for name in GROUPS if groups[name] or name != "unreadable"]
    with st.container(horizontal=True):
        for name in names:
            with st.container(border=True, width=128, key=f"tile-{name}", gap="xxsmall"):
                st.metric(name, f"{groups[name]:,}")
                st.page_link(
                    page, label="show", icon=":material/arrow_forward:", query_params={"state": name}
                )


def _throughput(window: Window, now: float) -> None:
    since = now // window.step * window.step - 2 * window.seconds
    rows = parts.hub().store.rows(queries.ended_per(window.step, since))
    st.subheader("Ended per minute", anchor=False)
    shown = list(STACK)
    st.bar_chart(
        figures.stacked(rows, window, now), x="time", y=shown, color=[STACK[name] for name in shown],
        x_label="", y_label="", height=300, alt="tasks ended per minute, by outcome",
    )  # fmt: skip
    share = figures.failure_share(rows, now - window.seconds, now + 1)
    before = figures.failure_share(rows, now - 2 * window.seconds, now - window.seconds)
    said = "nothing ended" if share is None else f"{share:.0%} failed"
    st.caption(f"In this window {said}" + ("." if before is None else f"; {before:.0%} in the one before."))


def _spans(window: Window, now: float) -> None:
    store = parts.hub().store
    st.subheader("Wait and run time", anchor=False)
    for label, which in (("wait", "wait"), ("run", "run")):
        middle, high = store.quantiles(which, now - window.seconds)
        with st.container(horizontal=True):
            st.metric(f"{label}, half below", span(middle))
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
            "id": st.column_config.ButtonColumn("id", key="failure-open", width=100, type="tertiary"),
            "when": st.column_config.DatetimeColumn("when", format="distance", width=120),
            "exit": st.column_config.TextColumn("exit", width=50),
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
        "state": parts.state_of(row),
        "exit": "" if row["returncode"] is None else str(row["returncode"]),
        "command": row["command"],
        "last line of stderr": row["complaint"] or row["reason"] or "",
        "user": row["user"],
        "when": moment(row["finished"]),
    }
