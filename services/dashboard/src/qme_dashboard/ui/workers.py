"""Who runs tasks: the table of workers that are alive, the page of all executors, and who is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import streamlit as st

from qme.client.executors import Known
from qme.contracts.executors import Heartbeat
from qme_dashboard import queries
from qme_dashboard.store import STEP
from qme_dashboard.ui import parts
from qme_dashboard.words import ago, count, plain, span

#: the page counts what each worker ended in so many seconds
WINDOW = 3600.0


def page() -> None:
    """Draw the page."""
    st.title("Workers", anchor=False)

    @st.fragment(run_every=parts.every())
    def live() -> None:
        parts.notice_executors()
        draw(since=time.time() - WINDOW)
        st.subheader("Executors", anchor=False)
        _definitions(parts.hub().executors)

    live()


def draw(executor: str | None = None, since: float | None = None) -> None:
    """Draw the table, or say how to start one; `since`: with what each has ended since then."""
    hub = parts.hub()
    known = [one for one in hub.executors if executor in (None, one.definition.executor)]
    now = time.time()
    done = _ended(since)
    for one in known:
        if one.pause is not None:
            place = f"{one.definition.executor} ({one.definition.pool})"
            said = f"{place} takes nothing new, {one.pause.sentence} ({ago(one.pause.at.timestamp(), now)})"
            st.warning(plain(said), icon=":material/pause_circle:")
    lines = [_line(beat, now, done) for one in known for beat in one.workers]
    if lines:
        progress = st.column_config.ProgressColumn(
            "busy", min_value=0.0, max_value=1.0, format="percent", width="small"
        )
        st.dataframe(
            lines, hide_index=True, height="content", column_config={"busy": progress}, alt="workers alive"
        )
    idle = [one for one in known if not one.workers]
    if idle:
        names = ", ".join(sorted({f"{one.definition.executor} ({one.definition.pool})" for one in idle}))
        st.caption(f"Known, but without a worker alive: {plain(names)}. Their tasks wait.")
    _silent(executor, {beat.worker for one in hub.executors for beat in one.workers})
    if not lines:
        st.info(
            "No worker is alive: tasks wait until one is. Start one where the commands shall run:",
            icon=":material/power:",
        )
        st.code(f"qme worker {executor or 'shell'}", language=None)


def _line(beat: Heartbeat, now: float, done: dict[str, tuple[int, int]] | None) -> dict[str, Any]:
    line = {
        "worker": beat.worker,
        "executor": beat.executor,
        "pool": beat.pool,
        "host": beat.host,
        "takes tasks": _takes(beat),
        "busy": beat.active / beat.slots if beat.slots else 0.0,
        "active": f"{beat.active} of {beat.slots}",
        "heartbeat": ago(beat.at.timestamp(), now),
        "up": span(now - beat.started.timestamp()),
        "version": beat.version,
    }
    if done is not None:
        ended, failed = done.get(beat.worker, (0, 0))
        line |= {"ended": ended, "failed": failed}
    return line


def _takes(beat: Heartbeat) -> str:
    if beat.drained:
        return "drained"
    if beat.pause is not None:
        return f"no: {beat.pause.sentence}"
    return f"no: {beat.paused}" if beat.paused else "yes"


def _ended(since: float | None) -> dict[str, tuple[int, int]] | None:
    store = parts.hub().store
    if since is None or not store.loaded:
        return None
    rows = store.rows(queries.by_worker(since // STEP * STEP))
    return {row["worker"]: (row["ended"], row["failed"]) for row in rows}


def _silent(executor: str | None, alive: set[str]) -> None:
    """Say whose tasks run though nobody hears of their worker."""
    store = parts.hub().store
    if not (store.loaded and parts.hub().seen):
        return
    silent = [row for row in store.rows(queries.holders(executor or "")) if row["worker"] not in alive]
    if silent:
        names = ", ".join(f"{row['worker']} ({count(row['n'], 'task')})" for row in silent)
        st.warning(f"Not heard of, though they hold tasks: {plain(names)}", icon=":material/heart_broken:")


def _definitions(known: Sequence[Known]) -> None:
    lines = [
        {
            "executor": one.definition.executor,
            "pool": one.definition.pool,
            "takes": one.definition.matchstring or "what no other executor matches",
            "priority": one.definition.priority,
            "runs as": one.definition.account,
            "admits": ", ".join(one.definition.users) or "its owner",
            "approved": "yes" if one.approved else "no",
            "workers": len(one.workers),
            "version": one.definition.version,
        }
        for one in known
    ]
    if lines:
        st.dataframe(lines, hide_index=True, height="content", alt="executors")
    else:
        st.caption("None is known yet: a worker says what its executor takes when it starts.")
