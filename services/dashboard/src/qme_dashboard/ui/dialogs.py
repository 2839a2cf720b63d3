"""Asks before anything is changed, naming each task, and does it. What may be done, and how, is in `deeds`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import streamlit as st

from qme.contracts.executors import ActionInfo
from qme.contracts.messages import Target
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme_dashboard import deeds
from qme_dashboard.deeds import Done
from qme_dashboard.ui import parts
from qme_dashboard.words import count, plain

_ASKS = {
    "rerun": ("Rerun", "Each gets another attempt under its id; the output of earlier ones stays."),
    "cancel": ("Cancel", "Their commands are ended."),
    "clear": ("Delete", "Record and output go for good."),
}


def confirm(verb: str, targets: Sequence[Target], rows: Sequence[dict[str, Any]]) -> None:
    """Ask whether these tasks shall be changed."""
    label, means = _ASKS[verb]

    @st.dialog(f"{label} {count(len(targets), 'task')}?", width="medium")
    def ask() -> None:
        st.caption(means)
        st.dataframe(
            [{"task": row["uid"], "state": parts.state_of(row), "command": row["command"]} for row in rows],
            hide_index=True,
            height="content" if len(rows) < 8 else 300,
        )
        force = verb == "rerun" and any(row["grp"] == "lost" for row in rows)
        force = force and st.checkbox("Also tasks that are lost and may still be running", key="force")
        with st.container(horizontal=True):
            if st.button(f"{label} {count(len(targets), 'task')}", type="primary", key="confirm",
                         on_click=_do, args=(verb, targets, force)):  # fmt: skip
                st.rerun()
            if st.button("Leave them alone", key="refuse"):
                st.rerun()

    ask()


def _do(verb: str, targets: Sequence[Target], force: bool) -> None:
    who = parts.person()
    try:
        done = parts.hub().call(lambda client: deeds.change(client, who, verb, targets, force=force))
    except QmeError as error:
        done = [Done(target.uuid, ok=False, said=error.message) for target in targets]
    parts.stash(done)


def edited(record: TaskRecord) -> None:
    """Ask for another command, to be run as a new task."""

    @st.dialog("Run an edited command", width="large")
    def ask() -> None:
        words = record.data.get("cmd")
        before = shlex.join(words) if isinstance(words, (list, tuple)) else record.command
        command = st.text_area("Command", before, key="edited-command", height=160)
        st.caption("It becomes a new task, in the same folder and with the same labels.")
        if st.button("Submit", type="primary", key="edited-submit", on_click=_submit, args=(command, record)):
            st.rerun()

    ask()


def _submit(command: str, record: TaskRecord) -> None:
    who = parts.person()
    like = {"cwd": record.cwd, "labels": record.labels, "message": record.message}
    try:
        uid = parts.hub().call(lambda client: deeds.submit(client, who, command, like))
        parts.stash([Done(uid, ok=True, said="submitted")])
    except QmeError as error:
        parts.stash([Done(record.uid, ok=False, said=error.message)])


def act(record: TaskRecord, info: ActionInfo, arguments: str = "") -> None:
    """Run an action of a task; one that changes something is asked for first."""

    @st.dialog(plain(titled(info.name)), width="large")
    def show() -> None:
        st.code(f"{record.uid}  {record.command}", language=None, wrap_lines=True)
        if info.help:
            st.caption(plain(info.help))
        said = st.text_input(
            "Arguments", arguments, key="act-arguments", placeholder="name=value, usually none"
        )
        if (
            st.button("Run" if info.changes else "Run again", type="primary", key="act-run")
            or not info.changes
        ):
            _answer(record, info.name, said)

    show()


def titled(name: str) -> str:
    """Give an action's name as a button has it."""
    return name.replace("_", " ").capitalize()


def _answer(record: TaskRecord, name: str, said: str) -> None:
    who = parts.person()
    try:
        args = dict(_argument(word) for word in shlex.split(said))
        with st.spinner("asking the worker…"):
            answer = parts.hub().call(lambda client: deeds.act(client, who, record.uuid, name, args))
    except (QmeError, ValueError) as error:
        st.error(plain(str(error)))
        return
    if isinstance(answer, str):
        st.code(answer or "(nothing)", language=None, wrap_lines=True)
    else:
        st.json(answer)


def _argument(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"{word}: say name=value")
    return name, value
