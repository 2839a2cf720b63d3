"""The parts of a task's page that views lay out. `views.TaskPage` says what a view may call of it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from qme.contracts.executors import Definition
from qme.contracts.output import STREAMS
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme_dashboard import timeline
from qme_dashboard.figures import STACK, group_of_outcome
from qme_dashboard.tails import Tail
from qme_dashboard.ui import elements, logs, parts
from qme_dashboard.words import plain, short, span

#: characters of one fact
_FACT = 500
#: attempts to choose from, the last ones: a record can name any number
_ATTEMPTS = 100
_WAITED, _RAN = "#9aa3b2", "#4f6bed"
#: colours of a scheduler's states; all others are as RUNNING
_STATES = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED", "STOPPED"), _WAITED),
    **dict.fromkeys(
        ("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"), STACK["failure"]
    ),
    "COMPLETED": STACK["success"],
    "CANCELLED": STACK["cancelled"],
}


@dataclass
class Sheet:
    """One task, drawn once."""

    record: TaskRecord
    definition: Definition | None

    def command(self) -> None:
        """Draw the command."""
        st.code(self.record.command, language=None, wrap_lines=True)
        if self.record.message:
            st.text(self.record.message)

    def note(self, text: str) -> None:
        """Draw a sentence that may hold anything."""
        st.text(text)

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Draw names and values; then the task's own."""
        record = self.record
        common = {
            "User": record.user,
            "Account": _unless(record.data.get("user"), record.user),
            "Pool": record.pool,
            "Worker": record.worker,
            "Created": _time(record.created),
            "Started": _time(record.started),
            "Ended": _time(record.finished),
            "Name": record.name,
            "After": _after(record),
            "Labels": ", ".join(f"{key}={value}" for key, value in record.labels.items()) or None,
            "Environment": ", ".join(record.env) or None,
            "Files sent": ", ".join(record.files) or None,
            "Id": record.uid,
        }
        shown = {**facts, **common}
        rows = "".join(
            '<tr><td style="opacity:.65;padding:2px 12px 2px 0;white-space:nowrap;vertical-align:top;border:0">'
            f"{html.escape(str(name))}</td>"
            f'<td style="padding:2px 0;overflow-wrap:anywhere;border:0">{html.escape(_fact(value))}</td></tr>'
            for name, value in shown.items()
            if value is not None
        )
        st.html(f'<table style="border:0;font-size:.88rem">{rows}</table>')

    def output(self) -> None:
        """Draw stdout and stderr side by side, with a search."""
        record, at = self.record, parts.hub()
        attempts = list(range(record.attempt, max(record.attempt - _ATTEMPTS, 0), -1))
        attempt = record.attempt
        if len(attempts) > 1:
            attempt = st.selectbox(
                "Attempt", attempts, key="attempt", width=130, label_visibility="collapsed",
                format_func=lambda number: f"attempt {number}",
            ) or record.attempt  # fmt: skip
        panes = []
        try:
            for stream in STREAMS:
                tail: Tail = at.call(partial(at.tails.look, record=record, stream=stream, attempt=attempt))
                panes.append(logs.pane(record, stream, attempt, tail))
        except QmeError as error:
            st.error(plain(error.message))
            return
        with st.container(key="log"):
            logs.draw(
                panes, f"log-{record.uuid}-{attempt}", live=attempt == record.attempt and not record.ended
            )

    def elements(self) -> None:
        """Draw the elements of a task that stands for many, and the output of one of them."""
        elements.draw(self.record, self.definition)

    def timeline(self) -> None:
        """Draw waits and attempts, and the states of a scheduler where the executor exports them."""
        now = datetime.now(UTC)
        st.html(_chart("Timeline", [_attempt_bar(one) for one in timeline.stretches(self.record, now)]))
        passed = timeline.passages(self.record, now)
        if passed:
            st.html(_chart(f"States in {self.record.executor}", [_state_bar(one) for one in passed]))


class _Bar(NamedTuple):
    begin: float
    end: float
    colour: str
    said: str


def _attempt_bar(one: timeline.Stretch) -> _Bar:
    colour = _WAITED if one.what == "waited" else STACK.get(group_of_outcome(one.how), _RAN)
    if one.what == "ran" and one.how in ("running", "queued"):
        colour = _RAN
    how = "" if one.what == "waited" else f", {one.how}"
    said = f"attempt {one.attempt} {one.what} {span(one.seconds)}{how}"
    # A scheduler's times are whole seconds: a start can lie before the submission.
    return _Bar(min(one.begin, one.end).timestamp(), one.end.timestamp(), colour, said)


def _state_bar(one: timeline.Passage) -> _Bar:
    reason = f" ({one.reason})" if one.reason else ""
    took = "" if one.end is None else f", {span((one.end - one.begin).total_seconds())}"
    said = f"{one.begin.astimezone():%H:%M:%S} {one.state}{reason}{took}"
    end = one.begin if one.end is None else one.end
    return _Bar(one.begin.timestamp(), end.timestamp(), _STATES.get(one.state, _RAN), said)


def _chart(title: str, bars: Sequence[_Bar]) -> str:
    """Draw bars under each other, each where it begins."""
    first = min((bar.begin for bar in bars), default=0.0)
    whole = max((bar.end for bar in bars), default=0.0) - first or 1.0
    rows = "".join(
        f'<div style="margin:3px 0"><div style="height:7px;border-radius:4px;background:{bar.colour};min-width:4px;'
        f"margin-left:{min((bar.begin - first) / whole, 0.98):.1%};width:{max(bar.end - bar.begin, 0) / whole:.1%}"
        f'"></div><span style="opacity:.8">{html.escape(bar.said)}</span></div>'
        for bar in bars
    )
    head = f'<div style="opacity:.65;margin-bottom:4px">{html.escape(title)}</div>'
    return f'<div style="font-size:.85rem;overflow:hidden;overflow-wrap:anywhere">{head}{rows}</div>'


def _time(time: datetime | None) -> str | None:
    if time is None:
        return None
    today = time.astimezone().date() == datetime.now().astimezone().date()
    return time.astimezone().strftime("%H:%M:%S %Z" if today else "%Y-%m-%d %H:%M:%S %Z")


def _after(record: TaskRecord) -> str | None:
    """Name the tasks that it waits for, or has waited for."""
    if record.after is None:
        return None
    named = [f"{short(one.uuid)} ({one.on.value})" for one in record.after.parents]
    more = record.after.count - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _unless(value: Any, known: Any) -> Any:
    return None if value == known else value


def _fact(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _FACT else text[:_FACT] + " …"
