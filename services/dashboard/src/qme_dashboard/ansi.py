"""Turns what a command wrote into text with colours, which a page can show and which does nothing else. Pure.

Escape sequences but for colours are dropped (they move cursors, set titles, make links); control characters too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

#: sequences, in their order: CSI, OSC and its kin up to their end, two-character ones; colours are CSI … m
_ESCAPE = re.compile(
    r"\x1b\[([0-9;:?<=>]*)[ -/]*([@-~])"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|\Z)"
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-9;:?<=>]*[@-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: colours that can be read on white and on near-black
_COLOURS = ("#6b7280", "#d64545", "#2a9d6f", "#b7791f", "#3b82f6", "#a855f7", "#0e9aa7", "#9ca3af")
#: codes of one sequence that count; terminals know no more, and a task may write any number
_CODES = 32
_CUBE = (0, 95, 135, 175, 215, 255)


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks from here on."""

    colour: str | None = None
    ground: str | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underlined: bool = False

    def css(self) -> str:
        """Spell it."""
        parts = (
            self.colour and f"color:{self.colour}",
            self.ground and f"background:{self.ground}",
            self.bold and "font-weight:bold",
            self.faint and "opacity:.7",
            self.italic and "font-style:italic",
            self.underlined and "text-decoration:underline",
        )
        return ";".join(part for part in parts if part)


_FLAGS: dict[int, Any] = {1: {"bold": True}, 2: {"faint": True}, 3: {"italic": True}, 4: {"underlined": True}}
_FLAGS |= {22: {"bold": False, "faint": False}, 23: {"italic": False}, 24: {"underlined": False}}


def spans(text: str) -> list[tuple[str, str]]:
    """Give the text in pieces, each with how it looks: CSS of our own making, empty for plain text."""
    return [(style.css(), run) for style, run in _runs(_overwritten(text))]


def _overwritten(text: str) -> str:
    """Keep of each line what stands after the last return to its beginning: a progress bar as it was left."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _runs(text: str) -> list[tuple[Style, str]]:
    style, at = Style(), 0
    found: list[tuple[Style, str]] = []
    for match in _ESCAPE.finditer(text):
        found.append((style, _CONTROL.sub("", text[at : match.start()])))
        at = match.end()
        if match[2] == "m":
            style = _styled(style, match[1])
    found.append((style, _CONTROL.sub("", text[at:])))
    return [(look, run) for look, run in found if run]


def _styled(style: Style, codes: str) -> Style:
    some = re.split("[;:]", codes, maxsplit=_CODES)[:_CODES]
    numbers = [int(code) if code.isdigit() and len(code) < 4 else 0 for code in some]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            style = Style()
        elif code in _FLAGS:
            style = replace(style, **_FLAGS[code])
        elif code in (38, 48):
            colour = _extended(numbers)
            style = replace(style, colour=colour) if code == 38 else replace(style, ground=colour)
        elif code in (39, 49):
            style = replace(style, colour=None) if code == 39 else replace(style, ground=None)
        elif 30 <= code % 60 <= 37 and code < 98:
            style = replace(style, colour=_COLOURS[code % 10])
        elif 40 <= code % 60 <= 47 and code < 108:
            style = replace(style, ground=_COLOURS[code % 10] + "55")
    return style


def _extended(numbers: list[int]) -> str | None:
    """Take a colour of 256, or of three parts, off the numbers."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 2 and len(numbers) >= 3:
        red, green, blue = (min(numbers.pop(0), 255) for _ in range(3))
        return f"#{red:02x}{green:02x}{blue:02x}"
    if kind == 5 and numbers:
        code = min(numbers.pop(0), 255)
        if code < 16:
            return _COLOURS[code % 8]
        if code >= 232:
            return "#" + f"{8 + (code - 232) * 10:02x}" * 3
        cube = code - 16
        return "#" + "".join(f"{_CUBE[part]:02x}" for part in (cube // 36, cube // 6 % 6, cube % 6))
    return None
