"""What a person may write for a task's id, and which ids that means. Pure: `qme.client.records` brings the candidates.

Executor names hold no dash, and a uuid's dashes stand at fixed places, so an id is read from the right: a text such as
``beef-1234`` is tried as executor and part of a uuid, and as part of a uuid alone; at most one of them can fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qme.contracts.subjects import TaskKey, is_uuid
from qme.errors import InvalidRequest, NotFound

LAST = "last"
#: hex digits that the end of an id needs
SHORTEST_SUFFIX = 4
#: candidates that an error about an ambiguous id names
SHOWN = 4
UUID_LENGTH = 36

_FRAGMENT = re.compile(r"[0-9a-f][0-9a-f-]*\Z")
_WITH_EXECUTOR = re.compile(r"([a-z][a-z0-9_]{0,31})-([0-9a-f][0-9a-f-]*)\Z")
_BARE = re.compile(r"[0-9a-f]{32}\Z")


class Ambiguous(InvalidRequest):
    """The id fits more than one task; give more of its digits."""

    code = "ambiguous"


class NoId(NotFound):
    """The text can't be a task's id."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A text that names a task: the whole uuid, or the ways to read the text as a part of one."""

    text: str
    executor: str | None = None
    uuid: str | None = None  #: when the whole of it is there
    readings: tuple[tuple[str | None, str], ...] = ()  #: (executor, part of the uuid)

    def fits(self, key: TaskKey) -> bool:
        """Tell whether the text can mean this task."""
        if self.uuid is not None:
            return key.uuid == self.uuid and self.executor in (None, key.executor)
        return any(
            executor in (None, key.executor) and _part_of(part, key.uuid) for executor, part in self.readings
        )


def parse(text: str) -> Selector:
    """Read an id. Raises NoId for what can't be one."""
    plain = text.strip().lower()
    if _BARE.match(plain):
        plain = "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))
    tail, head = plain[-UUID_LENGTH:], plain[:-UUID_LENGTH]
    if is_uuid(tail) and (not head or head.endswith("-")):
        return Selector(text, head[:-1] or None, tail)
    readings: list[tuple[str | None, str]] = []
    if _FRAGMENT.match(plain) and len(plain) < UUID_LENGTH:
        readings.append((None, plain))
    named = _WITH_EXECUTOR.match(plain)
    if named and len(named[2]) < UUID_LENGTH:
        readings.append((named[1], named[2]))
    if not readings:
        raise NoId(f"no such task: {text!r} can't be a part of an id; `qme ls` lists those there are")
    return Selector(text, readings=tuple(readings))


def choose(selector: Selector, keys: Iterable[TaskKey]) -> TaskKey:
    """Give the one task that fits. Raises NotFound, or Ambiguous, which names a few of those that fit."""
    found = sorted({key for key in keys if selector.fits(key)}, key=lambda key: key.uuid, reverse=True)
    if not found:
        raise missing(selector)
    if len(found) > 1:
        names = ", ".join(key.taskid for key in found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
        raise Ambiguous(f"{selector.text!r} fits more than one task: {names}")
    return found[0]


def missing(selector: Selector) -> NotFound:
    """Make the error for an id that no task has."""
    digits = [len(part.replace("-", "")) for _, part in selector.readings]
    hint = (
        f"; the end of an id needs {SHORTEST_SUFFIX} digits"
        if any(n < SHORTEST_SUFFIX for n in digits)
        else ""
    )
    return NotFound(f"no such task: {selector.text!r}{hint or '; `qme ls` lists those there are'}")


def _part_of(part: str, uuid: str) -> bool:
    if uuid.startswith(part):
        return True
    return len(part.replace("-", "")) >= SHORTEST_SUFFIX and uuid.endswith(part)
