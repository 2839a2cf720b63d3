"""The elements of a task that stands for many, such as a job array: how a record holds them, and what people call them.

A record has room for some kilobytes, an array may have a hundred thousand elements. So those that stand alike are one
group (``"elements": "0-3,7"``), in ``data.array.groups``; what has no room even so is left out, the good ones first.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qme.errors import InvalidRequest

#: characters that the groups of a record may take
MOST_TEXT = 12 * 1024
#: largest number of an element that is believed: no scheduler has larger arrays
_LARGEST = 4_000_000
_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?\Z")


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its scheduler's name for it within the task (``3``), and how it stands."""

    name: str
    state: str
    outcome: str | None = None
    returncode: int | None = None
    node: str | None = None


def pack(elements: Iterable[Element]) -> dict[str, Any]:
    """Give the fields of a record that tell of the elements: ``groups``, and ``left_out`` where some had no room."""
    found = sorted(elements, key=lambda one: one.outcome == "success")
    groups = _groups(found)
    if _text(groups) > MOST_TEXT:  # on which node a good one was is what people miss the least
        groups = _groups(Element(e.name, e.state, e.outcome, e.returncode, None) for e in found)
    kept: list[dict[str, Any]] = []
    room = MOST_TEXT
    for group in groups:
        room -= len(str(group))
        if room < 0:
            break
        kept.append(group)
    left = sum(len(names(group["elements"])) for group in groups[len(kept) :])
    return {"groups": kept, **({"left_out": left} if left else {})}


def unpack(array: Mapping[str, Any]) -> list[Element]:
    """Give the elements that a record's ``data.array`` tells of, in order; nothing for what can't be read."""
    found = [
        Element(
            name, group.get("state", ""), group.get("outcome"), group.get("returncode"), group.get("node")
        )
        for group in array.get("groups") or ()
        for name in names(group.get("elements", ""))
    ]
    return sorted(found, key=lambda one: (not one.name.isdecimal(), len(one.name), one.name))


def numbers(text: str) -> list[int]:
    """Read which elements a person means: ``3``, ``3-7``, ``0,4-6``. Raises InvalidRequest."""
    found: dict[int, None] = {}
    for piece in text.split(","):
        match = _RANGE.match(piece.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= _LARGEST:
            raise InvalidRequest(f"not the numbers of elements: {text!r}; say 3, 3-7 or 0,4-6")
        found |= dict.fromkeys(range(first, last + 1))
    return sorted(found)


def ranges(values: Iterable[int]) -> str:
    """Write numbers as ranges, in order: ``0-3,7``."""
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def names(text: str) -> Sequence[str]:
    """Give the names of a group's elements one by one."""
    found: list[str] = []
    for piece in filter(None, text.split(",")):
        match = _RANGE.match(piece)
        found += map(str, range(int(match[1]), int(match[2]) + 1)) if match and match[2] else [piece]
    return found


def _groups(elements: Iterable[Element]) -> list[dict[str, Any]]:
    alike: dict[tuple[Any, ...], list[str]] = {}
    for one in elements:
        alike.setdefault((one.state, one.outcome, one.returncode, one.node), []).append(one.name)
    return [
        {
            "elements": _joined(members),
            "state": state,
            "outcome": outcome,
            "returncode": returncode,
            "node": node,
        }
        for (state, outcome, returncode, node), members in alike.items()
    ]


def _joined(members: Sequence[str]) -> str:
    numbered = ranges(int(name) for name in members if name.isdecimal())
    return ",".join(filter(None, [numbered, *(name for name in members if not name.isdecimal())]))


def _text(groups: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(str(group)) for group in groups)
