"""The table of workers that are alive, of all executors or of one."""

from __future__ import annotations

import time

import streamlit as st

from qme_dashboard.ui import parts
from qme_dashboard.words import ago, plain


def draw(executor: str | None = None) -> None:
    """Draw the table, or say how to start one."""
    known = [one for one in parts.hub().executors if executor in (None, one.definition.executor)]
    now = time.time()
    lines = [
        {
            "worker": beat.worker,
            "executor": beat.executor,
            "host": beat.host,
            "pool": beat.pool,
            "busy": beat.active / beat.slots if beat.slots else 0.0,
            "active": beat.active,
            "slots": beat.slots,
            "heartbeat": ago(beat.at.timestamp(), now),
            "version": beat.version,
            "note": beat.paused or "",
        }
        for one in known
        for beat in one.workers
    ]
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
    if not lines:
        st.info(
            "No worker is alive: tasks wait until one is. Start one where the commands shall run:",
            icon=":material/power:",
        )
        st.code(f"qme worker {executor or 'shell'}", language=None)
