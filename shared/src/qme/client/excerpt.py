"""Fills a record's `data` with output from the log stream, up to a size; the record itself holds a short excerpt."""

from __future__ import annotations

import io
from typing import Any

from qme.bus.port import Bus
from qme.client.output import Output
from qme.client.pieces import Gap, chunk_of
from qme.contracts import subjects
from qme.contracts.output import NAMES, STREAMS, logged, written
from qme.contracts.tasks import TaskRecord

#: bytes of each stream that `qme get` shows
LIMIT = 64 * 1024


async def filled(bus: Bus, record: TaskRecord, limit: int = LIMIT) -> TaskRecord:
    """Give the record with up to `limit` bytes of each stream: all of it, or its beginning and its end."""
    data = dict(record.data)
    for stream in STREAMS:
        data.update(await _stream(bus, record, stream, limit))
    data["truncated"] = any(data.get(NAMES[stream].truncated) for stream in STREAMS)
    return record.model_copy(update={"data": data})


async def text(bus: Bus, record: TaskRecord, stream: str) -> str:
    """Give all output of the current attempt on one stream as text, bytes that are not UTF-8 spelled out."""
    raw = bytearray()
    async for piece in Output(bus, record.uuid, attempt=record.attempt, streams=(stream,)).stored(record):
        raw += _mark(piece.size) if isinstance(piece, Gap) else piece.data
    return raw.decode(errors="backslashreplace")


def lines(said: str) -> list[str]:
    """Split text into lines with their ends, as a record shows it."""
    return io.StringIO(said, newline="\n").readlines()  # str.splitlines splits at much else besides


async def _stream(bus: Bus, record: TaskRecord, stream: str, limit: int) -> dict[str, Any]:
    names = NAMES[stream]
    whole = record.data.get(names.truncated) is False and names.excerpt in record.data
    # What log_limit cut is not on the bus: there the record's own excerpt has the end, and the log stream not.
    cut = logged(record.data, stream) < written(record.data, stream)
    if record.ended and (whole or cut or not logged(record.data, stream)):
        return {}
    raw, total, short = await _beginning(bus, record, stream, limit)
    if total > limit:
        end = await _end(bus, record, stream, limit // 2)
        total = max(total, end[0] + len(end[1]), written(record.data, stream))
        skipped = end[0] - limit // 2
        raw, short = raw[: limit // 2] + (_mark(skipped) if skipped > 0 else b"") + end[1], True
    told = lines(raw.decode(errors="backslashreplace"))
    return {
        names.excerpt: told,
        names.written: max(total, written(record.data, stream)),
        names.truncated: short,
    }


async def _beginning(bus: Bus, record: TaskRecord, stream: str, limit: int) -> tuple[bytearray, int, bool]:
    """Give the first bytes (a little more than `limit` where there is more), how many they are, if some are gone."""
    raw, total, short = bytearray(), 0, False
    async for piece in Output(bus, record.uuid, attempt=record.attempt, streams=(stream,)).stored(record):
        if isinstance(piece, Gap):
            raw += _mark(piece.size)
            total, short = total + piece.size, True
        else:
            raw += piece.data
            total += len(piece.data)
        if total > limit:
            break
    return raw, total, short


async def _end(bus: Bus, record: TaskRecord, stream: str, limit: int) -> tuple[int, bytes]:
    """Give the last bytes on the bus and their offset."""
    subject = subjects.log_subject(record.key, record.attempt, stream)
    message = await bus.last(subjects.LOGS, subject)
    if message is None:
        return 0, b""
    chunk = chunk_of(subject, dict(message.headers), message.data)
    tail = chunk.data[-limit:]
    return chunk.offset + len(chunk.data) - len(tail), tail


def _mark(size: int) -> bytes:
    return f"\n[… {size} bytes left out …]\n".encode()
