"""The end of a task's output, kept while somebody looks: each look reads only what came since the last one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from qme.client import AsyncClient, Chunk
from qme.client.output import Output
from qme.contracts.tasks import TaskRecord

#: bytes of a stream that a page shows, and readings that are kept
SHOWN, KEPT = 200_000, 32


class Tail(NamedTuple):
    """The end of a stream as text, how much was written in all, and whether the beginning is left out."""

    text: str
    size: int
    cut: bool


class _Reading:
    def __init__(self, output: Output) -> None:
        self.output = output
        self.end = bytearray()
        self.size = 0
        self.turn = asyncio.Lock()

    async def look(self, record: TaskRecord) -> Tail:
        """Read on."""
        async with self.turn:
            async for piece in self.output.stored(record):
                if isinstance(piece, Chunk):
                    self._add(piece.data, len(piece.data))
                else:
                    self._add(b"\n[... %d bytes left out ...]\n" % piece.size, piece.size)
        cut = len(self.end) < self.size
        shown = bytes(self.end)
        if cut:
            shown = shown[shown.find(b"\n") + 1 :]  # from the first whole line on
        return Tail(shown.decode(errors="backslashreplace"), self.size, cut)

    def _add(self, data: bytes, size: int) -> None:
        self.size += size
        self.end += data
        del self.end[: max(len(self.end) - SHOWN, 0)]


class Tails:
    """All readings that somebody looked at lately; used in the hub's thread only."""

    def __init__(self) -> None:
        self._readings: OrderedDict[tuple[int, str, int, str], _Reading] = OrderedDict()

    async def look(self, client: AsyncClient, record: TaskRecord, stream: str, attempt: int) -> Tail:
        """Give the end of one attempt's output on one stream."""
        key = (id(client), record.uuid, attempt, stream)
        reading = self._readings.get(key)
        if reading is None:
            reading = _Reading(client.output(record.uuid, attempt=attempt, streams=(stream,)))
            self._readings[key] = reading
        self._readings.move_to_end(key)
        while len(self._readings) > KEPT:
            self._readings.popitem(last=False)
        return await reading.look(record)
