"""The elements of a task that stands for many, such as a job array: how each stands, and what one of them wrote.

Any executor gets this that exports ``data.array`` with ``groups`` (`qme.contracts.elements`). Output is asked of a
worker, by the action ``outputs`` with an argument ``element``; ``cancel_elements`` ends one; where offered.
"""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from qme.contracts import elements
from qme.contracts.elements import Element
from qme.contracts.executors import ActionInfo, Definition
from qme.contracts.output import STDERR, STDOUT
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme_dashboard import deeds
from qme_dashboard.ui import dialogs, logs, parts
from qme_dashboard.words import count, plain

#: elements that the table lists; of those that ended well the last are left out
SHOWN = 500
#: seconds after which the output of an element that has not ended is asked for again
AGAIN = 5.0
_TITLES = {"output": STDOUT, "error": STDERR}


def draw(record: TaskRecord, definition: Definition | None) -> None:
    """Draw the elements, and what the chosen one wrote."""
    array = record.data.get("array")
    if not isinstance(array, dict):
        return
    found = _of(array)
    _counts(array)
    key = f"elements-{record.uuid}"
    if found:
        shown = (
            found if len(found) <= SHOWN else sorted(found, key=lambda one: one.outcome == "success")[:SHOWN]
        )
        _table(shown, key)
    left = _number(array.get("left_out")) + max(len(found) - SHOWN, 0)
    if left:
        st.caption(f"{count(left, 'more element')} not listed; the action status tells of all.")
    offered = {info.name: info for info in definition.actions} if definition is not None else {}
    numbered = [one.name for one in found if one.name.isdecimal()]
    if not numbered or "outputs" not in offered:
        return
    clicked = st.session_state.get(f"{key}-open")
    if clicked and clicked["label"] in numbered and st.session_state.get(f"{key}-seen") is not clicked:
        st.session_state[f"{key}-seen"] = clicked
        st.session_state[f"{key}-element"] = clicked["label"]
    st.session_state.setdefault(f"{key}-element", _telling(found, numbered))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Output of element", numbered, key=f"{key}-element", width=170)
        chosen = next((one for one in found if one.name == name), None)
        if chosen is None:
            return
        st.badge(plain(chosen.outcome or chosen.state or "unknown"), color=parts.colour_of(chosen.outcome))
        if "cancel_elements" in offered and not record.ended and not chosen.outcome:
            off = parts.barred(offered["cancel_elements"]) is not None
            if st.button(
                f"Cancel element {chosen.name}", key=f"{key}-cancel", disabled=off, icon=":material/cancel:"
            ):
                dialogs.act(record, offered["cancel_elements"], f"elements={chosen.name}")
    _output(record, chosen, key, offered["outputs"])


def _telling(found: list[Element], numbered: list[str]) -> str:
    """Give the element to begin with: the first that ended badly, else the first one."""
    bad = (one.name for one in found if one.outcome not in (None, "success") and one.name in numbered)
    return next(bad, numbered[0])


def _counts(array: dict[str, Any]) -> None:
    counted = {name: number for name, number in array.items() if type(number) is int and name != "left_out"}
    with st.container(horizontal=True, gap="xsmall"):
        for name, number in counted.items():
            if name == "total":
                st.badge(count(number, "element"), color="gray")
            else:
                st.badge(f"{number:,} {plain(name)}", color=parts.colour_of(name))


def _table(shown: list[Element], key: str) -> None:
    rows = [
        {
            "element": one.name,
            "state": one.state,
            "outcome": one.outcome or "",
            "exit": "" if one.returncode is None else str(one.returncode),
            "node": one.node or "",
        }
        for one in shown
    ]
    st.dataframe(
        rows,
        key=key,
        hide_index=True,
        height="content" if len(rows) < 7 else 250,
        row_height=32,
        column_config={
            "element": st.column_config.ButtonColumn(
                "element", key=f"{key}-open", width=80, type="tertiary", help="Shows what it wrote"
            ),
            "exit": st.column_config.TextColumn("exit", width=60),
        },
        alt="elements",
    )


def _output(record: TaskRecord, one: Element, key: str, asked_for: ActionInfo) -> None:
    why = parts.barred(asked_for)
    if why is not None:
        st.caption(plain(why))
        return
    kept = f"{key}-output"
    name, asked, answer = st.session_state.get(kept, (None, 0.0, None))
    standing = f"{record.attempt} {one.name} {one.outcome}"
    if name != standing or (not one.outcome and time.monotonic() - asked > AGAIN):
        who = parts.person()
        try:
            answer = parts.hub().call(
                lambda client: deeds.act(client, who, record.uuid, "outputs", {"element": one.name})
            )
        except QmeError as error:
            answer = error.message
        st.session_state[kept] = (standing, time.monotonic(), answer)
    if not isinstance(answer, dict):
        st.text(str(answer))
        return
    with st.container(key="element-log"):
        logs.draw(_panes(answer, one), f"{key}-{one.name}", live=not one.outcome)


def _panes(answer: dict[str, Any], one: Element) -> list[logs.Pane]:
    panes = []
    for name, stream in _TITLES.items():
        lines, path = answer.get(name), answer.get(f"{name}file")
        if name == "error" and path and path == answer.get("outputfile"):
            continue  # one file has both
        text = "".join(map(str, lines)) if isinstance(lines, list) else ""
        note = " · ".join(str(part) for part in (path, answer.get(f"{name}_note")) if part)
        nothing = f"element {one.name} wrote nothing to {stream}"
        panes.append(logs.Pane(stream, text, note, f"{nothing} · {note}" if note else nothing))
    return panes


def _of(array: dict[str, Any]) -> list[Element]:
    try:
        return elements.unpack(array)
    except (AttributeError, TypeError, ValueError):
        return []  # an executor may export anything


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
