"""Shows output as it was written, with a search, following and downloads: a component of our own, in `assets/log.js`.

That one makes text nodes of what it is given, and never reads any of it as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import streamlit as st

from qme.contracts.tasks import TaskRecord
from qme_dashboard.ansi import spans
from qme_dashboard.tails import Tail
from qme_dashboard.ui.pages import ASSETS
from qme_dashboard.words import size

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

#: pixels that the text may take before it scrolls
HEIGHT = 460


@dataclass(frozen=True, slots=True)
class Pane:
    """One stream: what it is called, what was written, what stands beside it, and where all of it can be had."""

    name: str
    text: str
    note: str = ""
    empty: str = ""
    link: str = ""


def pane(record: TaskRecord, stream: str, attempt: int, tail: Tail) -> Pane:
    """Make one of a task's stream."""
    note = f"the last {size(len(tail.text))} of {size(tail.size)}" if tail.cut else size(tail.size)
    empty = f"nothing was written to {stream}" if record.ended else f"nothing on {stream} yet"
    link = f"/api/tasks/{quote(record.uid)}/output?stream={stream}&attempt={attempt}"
    return Pane(stream, tail.text, note or "", empty, link if tail.size else "")


def draw(panes: Sequence[Pane], key: str, *, live: bool) -> None:
    """Draw them, side by side where there is room; `live`: more may come, so the end is followed."""
    shown = [
        {"name": one.name, "spans": spans(one.text), "note": one.note, "empty": one.empty, "link": one.link}
        for one in panes
    ]
    _component()(key=key, data={"panes": shown, "live": live, "height": HEIGHT})


@cache
def _assets() -> dict[str, Any]:
    return {kind: (ASSETS / f"log.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}


def _component() -> ComponentRenderer:
    return st.components.v2.component("qme_log", **_assets())
