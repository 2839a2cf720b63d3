"""Reads a task's output: what is stored, then live, until the record says that there is no more. No printing here.

The end is exact: the worker has every chunk confirmed before it writes the record that ends an attempt, and that record
holds the byte counts. A chunk lost on the way here (reconnect, slow reader) is read again from the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from qme.bus.port import Bus, Message
from qme.client.following import patient
from qme.client.pieces import Chunk, Gap, Positions, chunk_of
from qme.client.records import Records
from qme.contracts import subjects
from qme.contracts.output import STREAMS, logged, written
from qme.contracts.tasks import (
    HEADER_ATTEMPT,
    HEADER_OFFSET,
    HEADER_OUTCOME,
    TaskRecord,
)
from qme.errors import BusUnavailable, NotFound

#: seconds that a replica behind the leader is given to show what the record counts
SETTLE = 5.0

_Live = AsyncIterator[Message | None]


class Output:
    """One reading of one task's output.

    `attempt` picks one; None begins with the attempt that is current and goes on with later ones. `record` is the
    newest that was seen; after a reading that followed to the end it is the final one.
    """

    def __init__(
        self, bus: Bus, uuid: str, *, attempt: int | None = None, streams: tuple[str, ...] = STREAMS
    ) -> None:
        self._bus = bus
        self._records = Records(bus)
        self._uuid = uuid
        self._attempt = attempt
        self._first = attempt or 1  #: earlier attempts are not read
        self._streams = streams
        self._positions = Positions()
        self._read_to = 0  #: sequence in the log stream up to which everything was read
        self.record: TaskRecord | None = None

    # -- what is stored ----------------------------------------------------------------------------------------------
    async def stored(self, record: TaskRecord) -> AsyncIterator[Chunk | Gap]:
        """Give what is on the bus now."""
        self._begin(record)
        async for piece in self._fill():
            yield piece
        if self._complete_in(record):
            async for piece in self._settle(record):
                yield piece

    # -- live --------------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def following(self) -> AsyncIterator[Callable[[TaskRecord | None], AsyncIterator[Chunk | Gap]]]:
        """Listen from now on; gives a function that yields everything until the task has ended.

        Entered before the task is submitted, nothing can be missed: call the function with None then, and with the
        record for a task that existed before (what is stored comes first).
        """
        live = self._bus.follow(subjects.log_filter(self._uuid), subjects.change_filter(self._uuid))
        async with live as messages:

            def pieces(record: TaskRecord | None) -> AsyncIterator[Chunk | Gap]:
                return self._live(messages, record)

            yield pieces

    async def _live(self, messages: _Live, record: TaskRecord | None) -> AsyncIterator[Chunk | Gap]:
        if record is not None:
            self._begin(record)
            async for piece in self._fill():
                yield piece
        if record is None or not self._over(record):
            async for piece in self._until_over(messages):
                yield piece
        if self.record is not None and self._complete_in(self.record):
            async for piece in self._settle(self.record):
                yield piece

    async def _until_over(self, messages: _Live) -> AsyncIterator[Chunk | Gap]:
        async for message in patient(messages):
            try:
                if message is None:  # something may have been missed, the end included
                    self.record = await self._current()
                    async for piece in self._fill():
                        yield piece
                elif HEADER_OFFSET in message.headers:
                    async for piece in self._chunk(message):
                        yield piece
                elif self._tells_of_end(message):
                    self.record = await self._current(message)
            except BusUnavailable:
                continue  # the task goes on; what was missed is read after the next silence or reconnect
            if self.record is not None and self._over(self.record):
                return

    async def _chunk(self, message: Message) -> AsyncIterator[Chunk | Gap]:
        chunk = chunk_of(message.subject, dict(message.headers), message.data)
        if not self._wanted(chunk):
            return
        if self._positions.missing(chunk):
            async for piece in self._fill():
                yield piece
        gap = self._positions.skip(chunk.attempt, chunk.stream, chunk.offset, "gone")
        if gap is not None:
            yield gap
        fresh = self._positions.take(chunk)
        if fresh is not None:
            yield fresh

    def _tells_of_end(self, event: Message) -> bool:
        attempt = event.headers.get(HEADER_ATTEMPT, "")
        later = self._attempt is not None and attempt.isdigit() and int(attempt) > self._attempt
        return HEADER_OUTCOME in event.headers or HEADER_ATTEMPT not in event.headers or later

    async def _current(self, event: Message | None = None) -> TaskRecord:
        """Read the record: what an event told of must be in it, which a replica may not show yet."""
        if event is not None and HEADER_OUTCOME in event.headers:
            record = await self._records.find(self._uuid)
            if record is not None and _shows(record, event):
                return record
        record = await self._records.find(self._uuid, leader=True)
        if record is None:
            raise NotFound(f"the task {self._uuid} has been cleared")
        return record

    # -- the rules ---------------------------------------------------------------------------------------------------
    def _begin(self, record: TaskRecord) -> None:
        self.record = record
        self._first = self._attempt or record.attempt

    def _wanted(self, chunk: Chunk) -> bool:
        if chunk.stream not in self._streams:
            return False
        return chunk.attempt >= self._first and self._attempt in (None, chunk.attempt)

    def _over(self, record: TaskRecord) -> bool:
        return record.ended or (self._attempt is not None and record.attempt > self._attempt)

    def _complete_in(self, record: TaskRecord) -> bool:
        """The record holds the byte counts of the attempt that is read (it has them of the last attempt only)."""
        return record.ended and self._attempt in (None, record.attempt)

    # -- gaps --------------------------------------------------------------------------------------------------------
    async def _fill(self) -> AsyncIterator[Chunk | Gap]:
        """Read on in the stored stream: what was seen live is passed over, what is gone from it becomes a gap."""
        stream = self._streams[0] if len(self._streams) == 1 else None
        wanted = subjects.log_filter(self._uuid, self._attempt, stream)
        async for message in self._bus.read(subjects.LOGS, wanted, start=self._read_to + 1):
            self._read_to = message.seq
            chunk = chunk_of(message.subject, dict(message.headers), message.data)
            if not self._wanted(chunk):
                continue
            gap = self._positions.skip(chunk.attempt, chunk.stream, chunk.offset, "gone")
            if gap is not None:
                yield gap
            fresh = self._positions.take(chunk)
            if fresh is not None:
                yield fresh

    async def _settle(self, record: TaskRecord) -> AsyncIterator[Chunk | Gap]:
        """Give the rest that the final record counts, then say what is missing."""
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + SETTLE, 0.0
        while self._short(record) and clock() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 2 or 0.02, 1.0)
            async for piece in self._fill():
                yield piece
        for stream in self._streams:
            gone = self._positions.skip(record.attempt, stream, logged(record.data, stream), "gone")
            cut = self._positions.skip(record.attempt, stream, written(record.data, stream), "cut")
            for gap in (gone, cut):
                if gap is not None:
                    yield gap

    def _short(self, record: TaskRecord) -> bool:
        at = self._positions.at
        return any(at(record.attempt, stream) < logged(record.data, stream) for stream in self._streams)


def _shows(record: TaskRecord, event: Message) -> bool:
    """The record is the one that the event told of, not an older one from a replica behind."""
    told = (event.headers.get(HEADER_ATTEMPT), event.headers.get(HEADER_OUTCOME))
    return told == (str(record.attempt), record.outcome)
