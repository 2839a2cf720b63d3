"""A task's page: what may be done to it, its executor's view, and its audit trail."""

from __future__ import annotations

import streamlit as st

from qme.client import AsyncClient
from qme.client.api import Change
from qme.contracts.executors import ActionInfo, Definition
from qme.contracts.messages import Target
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme_dashboard import deeds, views
from qme_dashboard.rows import group_of
from qme_dashboard.timeline import told
from qme_dashboard.ui import dialogs, groups, parts
from qme_dashboard.ui.sheet import Sheet
from qme_dashboard.words import plain, short

#: actions that have buttons of their own, or are what the page shows anyhow
_SHOWN_ANYHOW = frozenset({"cancel", "output", "error", "outputs"})
#: actions that make sense where there are elements only
_OF_ELEMENTS = frozenset({"cancel_elements"})


def page(executor: str, uid: str) -> None:
    """Draw the page."""
    record = _find(uid)
    if record is None:
        return
    if record.executor != executor:
        parts.open_task(record.executor, record.uid)
        return
    _head(record)

    # What has ended does not change by itself, but a rerun begins it anew.
    @st.fragment(run_every=parts.every())
    def live() -> None:
        now = _find(record.uid)
        if now is None:
            return
        if (now.status, now.attempt, now.outcome) != (record.status, record.attempt, record.outcome):
            st.rerun()
        if now.reason:
            st.text(now.reason)
        sheet = Sheet(now, _definition(now))
        views.view_of(now.executor)(st, sheet)

    live()
    _trail(record)


def _find(uid: str) -> TaskRecord | None:
    try:
        return parts.hub().call(lambda client: client.get(uid, output=False))
    except QmeError as error:
        st.error(plain(error.message), icon=":material/error:")
        st.page_link(st.session_state["pages"]["tasks"], label="All tasks", icon=":material/list_alt:")
        return None


def _definition(record: TaskRecord) -> Definition | None:
    for known in parts.hub().executors:
        if (known.definition.executor, known.definition.pool) == (record.executor, record.pool):
            return known.definition
    return None


def _head(record: TaskRecord) -> None:
    group = group_of(record)
    parts.back_link()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(f"{plain(record.executor)} {short(record.uid)}", anchor=False, width="content")
        st.badge(record.outcome or record.status, color=parts.COLOURS[group])
        if record.attempt > 1:
            st.badge(f"attempt {record.attempt}", color="gray")
        if record.cancel is not None and not record.ended:
            st.badge("asked to end", color="orange")
        if record.group:
            groups.link(record.group, record.user)
    _buttons(record)


def _buttons(record: TaskRecord) -> None:
    who = parts.person()
    row = {
        "uid": record.uid,
        "grp": group_of(record),
        "status": record.status.value,
        "outcome": record.outcome,
        "command": record.command,
    }
    target = [Target(uuid=record.uuid, attempt=record.attempt)]
    off = not who.may_act
    with st.container(horizontal=True, key="deeds"):
        if record.ended:
            if st.button("Rerun", icon=":material/replay:", key="rerun", disabled=off):
                dialogs.confirm("rerun", target, [row])
            if who.may_submit and st.button("Run edited", icon=":material/edit:", key="edit"):
                dialogs.edited(record)
            if st.button("Delete", icon=":material/delete:", key="clear", disabled=off):
                dialogs.confirm("clear", target, [row])
        elif st.button("Cancel", icon=":material/cancel:", key="cancel", disabled=off):
            dialogs.confirm("cancel", target, [row])
        reasons = _actions(record)
    if off:
        parts.read_only_note()
        reasons.pop(deeds.READ_ONLY, None)
    for why, labels in reasons.items():
        st.caption(plain(f"Off here: {', '.join(labels)}: {why}."))


def _actions(record: TaskRecord) -> dict[str, list[str]]:
    """Draw a button for each, and give why some are off."""
    reasons: dict[str, list[str]] = {}
    for info in _offered(record):
        label, why = dialogs.titled(info.name), parts.barred(info)
        if why is not None:
            reasons.setdefault(why, []).append(label)
        if st.button(plain(label), key=f"act-{info.name}", help=plain(info.help), disabled=why is not None):
            dialogs.act(record, info)
    return reasons


def _offered(record: TaskRecord) -> list[ActionInfo]:
    """List the executor's own actions that make sense now: what has ended is not changed, but rerun."""
    definition = _definition(record)
    shown = _SHOWN_ANYHOW | (frozenset() if "array" in record.data else _OF_ELEMENTS)
    offered = definition.actions if definition is not None else ()
    return [info for info in offered if info.name not in shown and not (info.changes and record.ended)]


def _trail(record: TaskRecord) -> None:
    with st.expander("Audit trail: every change, and who made it", icon=":material/history:"):

        async def changes(client: AsyncClient) -> list[Change]:
            return [change async for change in client.events(record.uid)]

        try:
            lines = told(parts.hub().call(changes))
        except QmeError as error:
            st.error(plain(error.message))
            return
        if lines:
            time = st.column_config.DatetimeColumn("time", format="YYYY-MM-DD HH:mm:ss.SSS")
            st.dataframe(lines, hide_index=True, height="content", column_config={"time": time})
        else:
            st.caption("Nothing is left of it: the trail is kept for a month.")
