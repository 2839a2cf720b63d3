"""What an attempt exports, made fit for a record: JSON only, head and tail of the output, never too large. No bus."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qme.contracts.messages import MAX_RECORD
from qme.contracts.output import NAMES, STDERR, STDOUT
from qme.contracts.tasks import TaskRecord

#: bytes of output that a record holds, of both streams together
EXCERPT = 8 * 1024
#: key in `data` that lists what had no room
LEFT_OUT = "left_out"


def plain(value: Any) -> Any:
    """Make a value one that JSON and UTF-8 can say; what they can't becomes text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():  # file names may hold bytes that are not UTF-8, which Python keeps as lone surrogates
            return value.encode(errors="backslashreplace").decode()
        case Mapping():
            return {str(plain(str(key))): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(inner) for inner in value]
        case _:
            return plain(str(value))


def lines(data: bytes) -> list[str]:
    """Split output into lines with their ends, as the record shows it; other bytes than UTF-8 are spelled out."""
    *whole, rest = data.decode(errors="backslashreplace").split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def excerpts(stdout: Path, stderr: Path, written: Mapping[str, int]) -> dict[str, Any]:
    """Read head and tail of both streams, of what was `written` (bytes by stream), as the fields of a record.

    Both together take at most `EXCERPT` bytes; a stream that needs little leaves the rest to the other one.
    """
    data: dict[str, Any] = {}
    for stream, path, other in ((STDOUT, stdout, STDERR), (STDERR, stderr, STDOUT)):
        room = max(EXCERPT // 2, EXCERPT - written[other])
        size = min(written[stream], _size(path))  # less than was written, where the command cut its file off
        names = NAMES[stream]
        data[names.excerpt] = (
            lines(_read(path, 0, size)) if size <= room else _head_and_tail(path, size, room // 2)
        )
        data[names.written] = written[stream]
        data[names.truncated] = written[stream] > min(size, room)
    data["truncated"] = any(data[NAMES[stream].truncated] for stream in NAMES)
    return data


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _head_and_tail(path: Path, size: int, half: int) -> list[str]:
    head, tail = _read(path, 0, half), _read(path, size - half, half)
    # Whole lines where there are any, and never half a character.
    head = head[: head.rfind(b"\n") + 1] or _whole_characters(head)
    tail = tail[tail.find(b"\n") + 1 :] or tail
    start = next((at for at, byte in enumerate(tail[:4]) if byte & 0xC0 != 0x80), 0)
    tail = tail[start:]
    gap = f"[… {size - len(head) - len(tail)} bytes left out …]\n"
    return [*lines(head), gap if head.endswith(b"\n") else "\n" + gap, *lines(tail)]


def _whole_characters(data: bytes) -> bytes:
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-back] if needed > back else data
    return data


def _read(path: Path, start: int, length: int) -> bytes:
    if not length:
        return b""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)
    except OSError:  # cleaned away, or never made: the log stream has what there was
        return b""


def fit(record: TaskRecord) -> TaskRecord:
    """Keep a record within its size: the largest exports go first, and their names are listed in its data."""
    size = len(record.model_dump_json().encode())
    if size <= MAX_RECORD:
        return record
    data = dict(record.data)
    left_out = list(data.pop(LEFT_OUT, []))
    costs = {name: len(str(value).encode(errors="replace")) for name, value in data.items()}
    for name in sorted(costs, key=lambda name: costs[name], reverse=True):
        del data[name]
        left_out.append(name)
        shorter = record.model_copy(update={"data": {**data, LEFT_OUT: left_out}})
        if len(shorter.model_dump_json().encode()) <= MAX_RECORD:
            return shorter
    return record.model_copy(update={"data": {LEFT_OUT: left_out}})
