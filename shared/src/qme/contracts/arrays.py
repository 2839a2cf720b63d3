"""Arrays: many tasks described in one submission, and the names of those that are made of it. Pure.

A description is stored once, as its head's spec. Its tasks (elements) are made of it later, any number of times with
the same result, so that nobody has to remember for certain which were made already.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from qme.contracts.bounds import Count
from qme.contracts.subjects import is_uuid
from qme.errors import InvalidRequest

#: tasks of one array
MAX_ELEMENTS = 1_000_000
#: stretches of indices of one array: each task's index is found by going through them
MAX_RANGES = 10_000
#: bytes of lines once they are unpacked
MAX_UNPACKED = 16 << 20
#: characters of packed lines in one description
MAX_PACKED = 512 << 10
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?\Z")
_PLACE = "{}"
#: odd, so that no two places of an array have the same last digits
_STRIDE = 0x9E3779B1


class _Stored(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Array(_Stored):
    """What the tasks of an array differ in."""

    #: first, last and step of each stretch of indices
    ranges: tuple[tuple[Count, Count, Count], ...]
    #: at most so many of them are released and have not ended; 0: any number
    throttle: Count = 0
    #: what `packed` holds, one line for each index: text, or a JSON object of variables
    lines: Literal["text", "json"] | None = None
    packed: str = ""

    @property
    def count(self) -> int:
        """How many tasks it has."""
        return sum((last - first) // step + 1 for first, last, step in self.ranges)


class Element(_Stored):
    """Which task of which array this is."""

    of: str  #: uuid of the head
    index: Count
    throttle: Count = 0


class Progress(_Stored):
    """How an array stands, in its head's record."""

    count: Count
    throttle: Count = 0
    made: Count = 0
    success: Count = 0
    failed: Count = 0  #: all other ends


def parse(text: str) -> Array:
    """Read ``1-100%8``, ``1,3,7-21:2``. Raises InvalidRequest."""
    stretches, percent, throttle = text.partition("%")
    ranges = []
    for part in stretches.split(","):
        found = _RANGE.match(part.strip())
        if not found:
            raise InvalidRequest(f"{text!r} is no array; say 1-100, 1,3,7-21:2 or 1-100%8 (8 at once)")
        first = int(found[1])
        last, step = int(found[2] or first), int(found[3] or 1)
        if last < first or step < 1:
            raise InvalidRequest(f"{part!r} has no index: from a smaller to a larger number, step 1 or more")
        ranges.append((first, last, step))
    if percent and not (throttle.isdigit() and int(throttle)):
        raise InvalidRequest(f"after % stands how many run at once, not {throttle!r}")
    return checked(Array(ranges=tuple(ranges), throttle=int(throttle or 0)))


def of_lines(
    lines: Sequence[str], kind: Literal["text", "json"], throttle: int = 0, *, first: int = 1
) -> Array:
    """Make an array of one task for each line, with indices from `first` on. Raises InvalidRequest for no lines."""
    if not lines:
        raise InvalidRequest("there is no line to make a task of")
    packed = base64.b64encode(zlib.compress("\n".join(lines).encode(), 9)).decode()
    return checked(
        Array(ranges=((first, first + len(lines) - 1, 1),), throttle=throttle, lines=kind, packed=packed)
    )


def pieces_of_lines(lines: Sequence[str], kind: Literal["text", "json"], *, first: int = 1) -> list[Array]:
    """Make as many arrays as it takes to store the lines, with indices that go on from one to the next."""
    array = of_lines(lines, kind, first=first)
    if len(array.packed) <= MAX_PACKED or len(lines) == 1:
        return [array]
    middle = len(lines) // 2
    return [
        *pieces_of_lines(lines[:middle], kind, first=first),
        *pieces_of_lines(lines[middle:], kind, first=first + middle),
    ]


def checked(array: Array) -> Array:
    """Give an array that can be made. Raises InvalidRequest for one that can't."""
    if any(step < 1 or last < first for first, last, step in array.ranges) or not array.ranges:
        raise InvalidRequest("an array has at least one index, and steps from 1 on")
    if len(array.ranges) > MAX_RANGES:
        raise InvalidRequest(
            f"the array has {len(array.ranges)} stretches of indices, the limit is {MAX_RANGES}"
        )
    if array.count > MAX_ELEMENTS:
        raise InvalidRequest(f"the array has {array.count} tasks, the limit is {MAX_ELEMENTS}")
    if array.lines is not None and len(unpacked(array)) != array.count:
        raise InvalidRequest("the array has another number of lines than of indices")
    return array


def unpacked(array: Array) -> list[str]:
    """Give the lines of an array. Raises InvalidRequest for what is no such text."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(array.packed, validate=True), MAX_UNPACKED + 1)
        text = data.decode()
    except (binascii.Error, zlib.error, ValueError) as error:
        raise InvalidRequest("the lines of the array can't be read") from error
    if len(data) > MAX_UNPACKED or not inflate.eof:
        raise InvalidRequest(f"the lines of the array have more than {MAX_UNPACKED} bytes")
    lines = text.split("\n")
    for line in lines if array.lines == "json" else ():
        variables(line)
    return lines


def variables(line: str) -> dict[str, str]:
    """Read one object of variables. Raises InvalidRequest."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):  # the latter for brackets in brackets in brackets
        said = None
    if not isinstance(said, dict):
        raise InvalidRequest(f"not a JSON object of variables: {line[:60]!r}")
    for name in said:
        if not name or "=" in name or "\0" in name or name.startswith("QME_"):
            raise InvalidRequest(f"{name!r} can't be a variable's name")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}


def index_of(array: Array, at: int) -> int:
    """Give the index of the task that comes at a place, from 0."""
    for first, last, step in array.ranges:
        size = (last - first) // step + 1
        if at < size:
            return first + at * step
        at -= size
    raise IndexError(at)


def told(array: Array, lines: Sequence[str], at: int) -> dict[str, str]:
    """Give the variables of the task at a place."""
    found = {"QME_ARRAY_INDEX": str(index_of(array, at))}
    if array.lines == "text":
        found["QME_LINE"] = lines[at]
    elif array.lines == "json":
        found |= variables(lines[at])
    return found


def words(argv: Iterable[str], line: str | None) -> tuple[str, ...]:
    """Put the line where ``{}`` stands in a command's words."""
    return tuple(argv) if line is None else tuple(word.replace(_PLACE, line) for word in argv)


def _mark(head: str) -> tuple[str, int]:
    digest = hashlib.sha256(head.encode()).hexdigest()
    return digest[:3], int(digest[3:11], 16)


# -- names -----------------------------------------------------------------------------------------------------------
def element_uuid(head: str, at: int) -> str:
    """Name the task at a place of an array: version 8, its time the head's, always the same.

    Ordered by place; the last eight digits, which people see, are of one element of the array only.
    """
    mark, base = _mark(head)
    place = f"{(2 << 30) | at:08x}"
    return f"{head[:13]}-8{mark}-{place[:4]}-{place[4:]}{(base + at * _STRIDE) % (1 << 32):08x}"


def family(uuid: str) -> str:
    """Give what the uuids of a head and all of its elements have in common."""
    if is_element(uuid):
        mark, base = uuid[15:18], (int(uuid[28:], 16) - place_of(uuid) * _STRIDE) % (1 << 32)
    else:
        mark, base = _mark(uuid)
    return f"{uuid[:13]}-{mark}-{base:08x}"


def is_element(uuid: str) -> bool:
    """Tell whether a uuid is one that only submitters make: nobody else may use such, or they could be taken before."""
    return uuid[14:15] == "8" and is_uuid(uuid)


def place_of(uuid: str) -> int:
    """Give the place in its array of an element."""
    return int(uuid[19:23] + uuid[24:28], 16) & ((1 << 30) - 1)
