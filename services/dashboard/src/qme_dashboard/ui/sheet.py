"""The parts of a task's page that views lay out. `views.TaskPage` says what a view may call of it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import streamlit as st

from qme.contracts.executors import Definition
from qme.contracts.output import STDERR, STDOUT, STREAMS, written
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme_dashboard import timeline
from qme_dashboard.ansi import render
from qme_dashboard.figures import STACK, group_of_outcome
from qme_dashboard.tails import Tail
from qme_dashboard.ui import parts
from qme_dashboard.words import plain, size, span

#: characters of one fact
_FACT = 500
#: attempts to choose from, the last ones: a record can name any number
_ATTEMPTS = 100
_LOG_HEIGHT = 480
_PRE = (
    "margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.82rem;line-height:1.45;"
    "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
)
_WAITED, _RAN = "#9aa3b2", "#4f6bed"


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
            "Account": record.data.get("user"),
            "Pool": record.pool,
            "Worker": record.worker,
            "Created": _time(record.created),
            "Started": _time(record.started),
            "Ended": _time(record.finished),
            "Labels": ", ".join(f"{key}={value}" for key, value in record.labels.items()) or None,
            "Environment": ", ".join(record.env) or None,
            "Files sent": ", ".join(record.files) or None,
        }
        shown = {**facts, **common}
        rows = "".join(
            '<tr><td style="opacity:.65;padding:2px 12px 2px 0;white-space:nowrap;vertical-align:top;border:0">'
            f"{html.escape(str(name))}</td>"
            f'<td style="padding:2px 0;overflow-wrap:anywhere;border:0">{html.escape(_fact(value))}</td></tr>'
            for name, value in shown.items()
            if value is not None
        )
        st.html(f'<table style="border:0;font-size:.9rem">{rows}</table>')

    def output(self) -> None:
        """Draw stdout and stderr, with a search."""
        record = self.record
        attempts = list(range(record.attempt, max(record.attempt - _ATTEMPTS, 0), -1))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            stream = st.segmented_control(
                "Output",
                [*STREAMS],
                default=self._telling_stream(),
                key=f"stream-{record.uuid}",
                required=True,
                format_func=self._stream_label,
            )
            attempt = record.attempt
            if len(attempts) > 1:
                attempt = st.selectbox("Attempt", attempts, key="attempt", width=90) or record.attempt
            find = st.text_input(
                "Find", key="find", live=True, type="search", placeholder="in the output", width=150
            )
            follow = st.toggle("Follow", value=not record.ended, key="follow", help="Stay at the end")
        self._log(stream or STDOUT, attempt, find or "", follow)

    def timeline(self) -> None:
        """Draw waits and attempts."""
        found = timeline.stretches(self.record, datetime.now(UTC))
        whole = sum(one.seconds for one in found) or 1.0
        bars = "".join(_bar(one, whole) for one in found)
        st.html(
            f'<div style="font-size:.85rem"><div style="opacity:.65;margin-bottom:4px">Timeline</div>{bars}</div>'
        )

    def _telling_stream(self) -> str:
        """Give the stream to begin with: what failed without a word on stdout has said why on stderr."""
        data = self.record.data
        silent = self.record.ended and not written(data, STDOUT) and written(data, STDERR)
        return STDERR if silent else STDOUT

    def _stream_label(self, stream: str) -> str:
        return f"{stream} ({size(written(self.record.data, stream))})" if self.record.ended else stream

    def _log(self, stream: str, attempt: int, find: str, follow: bool) -> None:
        record, at = self.record, parts.hub()
        try:
            tail: Tail = at.call(lambda client: at.tails.look(client, record, stream, attempt))
        except QmeError as error:
            st.error(plain(error.message))
            return
        body, hits = render(tail.text, find)
        link = f"/api/tasks/{quote(record.uid)}/output?stream={stream}&attempt={attempt}"
        said = [f"{hits} found"] if find else []
        said.append(
            f"the last {size(len(tail.text))} of {size(tail.size)}" if tail.cut else size(tail.size) or ""
        )
        with st.container(border=True, height=_LOG_HEIGHT, autoscroll=follow, key="log"):
            if body:
                st.html(f'<pre style="{_PRE}">{body}</pre>')
            else:
                st.caption("Nothing yet." if not record.ended else f"Nothing was written to {stream}.")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(" · ".join(said))
            if tail.size:
                st.link_button("Download", link, icon=":material/download:", type="tertiary")


def _bar(one: timeline.Stretch, whole: float) -> str:
    share = max(one.seconds / whole * 100, 1.0)
    colour = _WAITED if one.what == "waited" else STACK.get(group_of_outcome(one.how), _RAN)
    if one.what == "ran" and one.how in ("running", "queued"):
        colour = _RAN
    label = f"{one.what} {span(one.seconds)}" + ("" if one.what == "waited" else f", {one.how}")
    return (
        f'<div style="margin:3px 0"><div style="height:7px;width:{share:.1f}%;min-width:4px;border-radius:4px;'
        f'background:{colour}"></div><span style="opacity:.8">attempt {one.attempt} {html.escape(label)}</span></div>'
    )


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _fact(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _FACT else text[:_FACT] + " …"
