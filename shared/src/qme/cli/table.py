"""Rows for people and for programs: aligned on a terminal, tab-separated elsewhere. Formatting only."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAMES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_COLOURS = {
    **dict.fromkeys(("success", "ok", "online"), "32"),
    **dict.fromkeys(
        ("failed", "timeout", "out_of_memory", "node_fail", "deadline", "preempted", "lost"), "31"
    ),
    **dict.fromkeys(("submit_failed", "offline", "problem"), "31"),
    **dict.fromkeys(("cancelled", "paused"), "33"),
    "running": "36",
}


class Table:
    """Writes rows one by one, so that the first is seen before the last is known.

    `columns` are headings with the least width of their column; the last one takes what is left of the line. On a
    terminal there are headings, colours (unless NO_COLOR is set) and lines cut to its width; elsewhere neither.
    """

    def __init__(self, columns: Sequence[tuple[str, int]], out: TextIO | None = None) -> None:
        self._columns = columns
        self._out = out or sys.stdout
        self.is_terminal = self._out.isatty()
        self._colours = self.is_terminal and not os.environ.get("NO_COLOR")
        self._width = shutil.get_terminal_size().columns
        self._begun = False

    def row(self, *cells: str) -> None:
        """Write a row of texts; control characters in them are shown, not obeyed."""
        texts = [visible(cell) for cell in cells]
        if not self.is_terminal:
            print("\t".join(texts), file=self._out)
            return
        if not self._begun:
            self._begun = True
            self._line([heading for heading, _ in self._columns], colours=False)
        self._line(texts, colours=self._colours)

    def _line(self, texts: Sequence[str], *, colours: bool) -> None:
        left = self._width
        parts: list[str] = []
        for text, (_, width) in zip(texts, self._columns, strict=True):
            last = len(parts) == len(self._columns) - 1
            shown = shortened(text, max(left, 8)) if last else text.ljust(width)
            left -= len(shown) + 2
            colour = _COLOURS.get(text) if colours else None
            parts.append(f"\x1b[{colour}m{shown}\x1b[0m" if colour else shown)
        print("  ".join(parts).rstrip(), file=self._out)


def visible(text: str) -> str:
    """Spell control characters out, so that a command's text can neither break a row nor steer a terminal."""
    return _CONTROL.sub(lambda found: _NAMES.get(found[0], f"\\x{ord(found[0]):02x}"), text)


def shortened(text: str, width: int) -> str:
    """Cut a text to a width, and show that it was."""
    return text if len(text) <= width else text[: width - 1] + "…"


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """Say how long ago something was: ``5s``, ``3m``, ``2h``, ``4d``; a dash for never."""
    if moment is None:
        return "-"
    return span(((now or datetime.now(UTC)) - moment).total_seconds())


def span(seconds: float | None) -> str:
    """Say a length of time in its largest unit; a dash for none."""
    if seconds is None:
        return "-"
    passed = max(seconds, 0)
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if passed >= length:
            return f"{passed // length:.0f}{unit}"
    return f"{int(passed)}s"


def stamp(moment: datetime | None) -> str:
    """Spell a time for programs: ISO 8601 in UTC; nothing for never."""
    return (
        ""
        if moment is None
        else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
