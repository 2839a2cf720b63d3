"""Elements of a task that stands for many: ``ID[3-7]`` as people write it, and the table that `qme get` shows."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from qme.contracts import elements
from qme.contracts.tasks import TaskRecord
from qme.errors import NotFound

#: elements that are shown one by one; those that ended well are the first to be left out
SHOWN = 1000
_WITH_ELEMENTS = re.compile(r"(?s)(.+)\[([^\[\]]*)\]\Z")


def split(text: str) -> tuple[str, str | None]:
    """Divide ``ID[3-7]`` into the id and the elements; None where the whole task is meant. Raises InvalidRequest."""
    found = _WITH_ELEMENTS.match(text)
    if found is None:
        return text, None
    return found[1], elements.ranges(elements.numbers(found[2]))


def filled(record: TaskRecord) -> TaskRecord:
    """Give the record with a row for each element, by name, where it has any."""
    array = record.data.get("array")
    if not isinstance(array, dict) or not array.get("groups"):
        return record
    rows = elements.unpack(array)
    if len(rows) > SHOWN:
        worst = sorted(rows, key=lambda one: one.outcome == "success")[:SHOWN]
        rows = [one for one in rows if one in set(worst)]
    left = int(array.get("total") or 0) - len(rows)
    shown = {name: value for name, value in array.items() if name not in ("groups", "left_out")}
    shown |= {"elements": {one.name: _row(one) for one in rows}}
    shown |= {"elements_left_out": left} if left > 0 else {}
    return record.model_copy(update={"data": {**record.data, "array": shown}})


def rows(record: TaskRecord, wanted: str) -> list[dict[str, Any]]:
    """Give the rows of some elements (``3-7``). Raises NotFound for one that the record does not tell of."""
    array = record.data.get("array")
    if not isinstance(array, dict):
        raise NotFound(f"{record.uid} has no elements")
    known = {one.name: one for one in elements.unpack(array)}
    found = []
    for name in map(str, elements.numbers(wanted)):
        if name not in known:
            raise NotFound(f"{record.uid} tells of no element {name}{_of(array)}")
        found.append({"uid": record.uid, "element": name, **_row(known[name])})
    return found


def numbered(record: TaskRecord) -> str | None:
    """Give the first of a task's numbered elements, each of which has output of its own; None where there is none.

    The jobs of a heterogeneous one are not numbered (``+1``), and share their output.
    """
    array = record.data.get("array")
    known = elements.unpack(array) if isinstance(array, dict) else []
    return next((one.name for one in known if one.name.isdecimal()), None)


def _row(one: elements.Element) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "name"}


def _of(array: dict[str, Any]) -> str:
    left = array.get("left_out")
    return f"; {left} had no room in its record: `qme exec ID status` lists them" if left else ""
