"""A table of tasks that stays right while it is live: what is selected is selected by id, not by its place."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import streamlit as st

from qme.contracts.messages import Target
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.ui import dialogs, parts
from qme_dashboard.words import count, moment, short, span

_VERBS = {
    "rerun": ("Rerun", ":material/replay:"),
    "cancel": ("Cancel", ":material/cancel:"),
    "clear": ("Delete", ":material/delete:"),
}
#: columns that a table has unless somebody chooses, and all there are; the id stands before them
COLUMNS = ("state", "exit", "command", "executor", "user", "created", "ran", "try")
_AS_THEY_ARE = ("command", "executor", "pool", "user", "name", "worker", "message", "labels", "reason")
CHOICE = (
    *COLUMNS,
    "group",
    "name",
    "pool",
    "worker",
    "message",
    "labels",
    "started",
    "ended",
    "waited",
    "reason",
    "last line of stderr",
)
_GONE = {"grp": "cancelled", "status": "deleted", "outcome": None}


def draw(
    wanted: Filter,
    paging: Paging,
    name: str,
    rows: list[dict[str, Any]],
    said: str,
    columns: Sequence[str] = COLUMNS,
) -> None:
    """Draw one page of tasks, with what can be done to those that are selected; `said` tells how many there are."""
    key = key_of(name, wanted, paging) + parts.after_changes()
    shown_ids = f"{key}-ids"
    selected = _selected(key)
    if selected and shown_ids in st.session_state:
        # The widget knows places only. So the tasks keep theirs while any is selected; how they stand stays live.
        rows = _as_shown(st.session_state[shown_ids])
    else:
        st.session_state[shown_ids] = [(row["uuid"], row["uid"]) for row in rows]
    chosen = [rows[place] for place in selected if place < len(rows)]
    _bar(chosen, key, said)
    st.dataframe(
        [_line(row, columns) for row in rows],
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height="content",
        row_height=34,
        column_config=_columns(f"{key}-open"),
        alt="tasks",
    )
    _open(rows, f"{key}-open")


def key_of(name: str, wanted: Filter, paging: Paging) -> str:
    """Give the widget's key: a new filter or page is a new table, which begins with nothing selected."""
    return f"{name}-{hashlib.sha256(repr((wanted, paging)).encode()).hexdigest()[:12]}"


def _selected(key: str) -> list[int]:
    state = st.session_state.get(key)
    found: list[int] = state["selection"]["rows"] if state else []
    return found


def _as_shown(ids: list[tuple[str, str]]) -> list[dict[str, Any]]:
    now = {row["uuid"]: row for row in parts.hub().store.named([uuid for uuid, _ in ids])}
    blank = dict.fromkeys(
        ("command", "executor", "user", "created", "started", "finished", "returncode", "attempt")
    )
    return [now.get(uuid, {**blank, **_GONE, "uuid": uuid, "uid": uid}) for uuid, uid in ids]


def _bar(chosen: list[dict[str, Any]], key: str, said: str) -> None:
    may_act = parts.person().may_act
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}-bar"):
        if not chosen:
            how = "click an id to open a task" + ("; tick rows to change several" if may_act else "")
            st.caption(f"{said} · {how}")
            return
        st.markdown(f"**{count(len(chosen), 'task')}** selected")
        for verb, (label, icon) in _VERBS.items():
            if st.button(label, icon=icon, key=f"{key}-{verb}", disabled=not may_act):
                dialogs.confirm(verb, _targets(chosen), chosen)
        st.caption(said)
        if not may_act:
            parts.read_only_note()


def _targets(rows: list[dict[str, Any]]) -> list[Target]:
    return [Target(uuid=row["uuid"], attempt=row["attempt"] or None) for row in rows]


def _open(rows: list[dict[str, Any]], key: str) -> None:
    clicked = st.session_state.get(key)
    if not clicked:
        return
    # The button says which task it is, whatever place it has by now.
    for row in rows:
        if short(row["uid"]) == clicked["label"]:
            parts.open_task(row["executor"] or row["uid"].rpartition("-")[0][:-28], row["uid"])


def _line(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    created, started, finished = row["created"], row["started"], row["finished"]
    line = {
        "id": short(row["uid"]),
        "state": parts.state_of(row),
        "exit": "" if row["returncode"] is None else str(row["returncode"]),
        "created": moment(created),
        "started": moment(started),
        "ended": moment(finished),
        "waited": span(None if started is None or created is None else started - created),
        "ran": span(None if started is None else (finished or time.time()) - started),
        "try": row["attempt"],
        "group": row.get("bundle") or "",
        "last line of stderr": row.get("complaint") or "",
        **{name: row.get(name) or "" for name in _AS_THEY_ARE},
    }
    return {name: line[name] for name in ("id", *columns)}


def _columns(open_key: str) -> dict[str, Any]:
    config = st.column_config
    return {
        "id": config.ButtonColumn("id", key=open_key, width=88, type="tertiary", help="Opens the task"),
        "state": config.TextColumn("state", width=112),
        "command": config.TextColumn("command", width=300),
        "executor": config.TextColumn("executor", width=76),
        "user": config.TextColumn("user", width=70),
        **{
            name: config.DatetimeColumn(name, format="distance", width=122)
            for name in ("created", "started", "ended")
        },
        "ran": config.TextColumn("ran", width=68),
        "exit": config.TextColumn("exit", width=50),
        "waited": config.TextColumn("waited", width=68),
        "try": config.NumberColumn("try", width=45, help="Which attempt"),
    }
