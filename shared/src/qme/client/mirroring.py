"""Gives all task records and then every change, for whoever keeps a copy of them. Keeps no copy itself.

The bucket is one stream in the order of last changes, so a copy that is at a revision needs only what lies behind it.
What the bus tells live is taken for a reason to look and nothing more: nothing is missed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from qme.bus.kv import Bucket, Corrupt, Entry, Removed
from qme.bus.port import Bus
from qme.client.following import SILENCE, patient
from qme.contracts import subjects
from qme.contracts.tasks import TaskRecord
from qme.errors import BusUnavailable, NotFound

Item = Entry[TaskRecord] | Removed | Corrupt

#: records in one batch
BATCH = 500
#: seconds that changes are gathered for before they are read
GATHER = 0.25
#: seconds between two tries while the bus is away
RETRY = 1.0
#: seconds out of touch after which the marker of a cleared task may have gone unseen (it stays for an hour)
FORGETS = 1800.0


@dataclass(slots=True)
class Batch:
    """A piece of the news.

    `fresh`: begin anew, what was told before counts no more. `whole`: this is all that there is now (after a `fresh`
    batch, what was not told since then is gone). `trouble`: the bus is away, and why; the copy is getting old.
    """

    items: list[Item] = field(default_factory=list)
    fresh: bool = False
    whole: bool = False
    trouble: str | None = None


class Mirroring:
    """One reader of the record bucket; `batches` never ends by itself."""

    def __init__(self, bus: Bus, *, silence: float = SILENCE, retry: float = RETRY) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
        self._silence, self._retry = silence, retry
        self._position = 0  #: revision up to which everything was given
        self._last_key = ""  #: the key that has it
        self._news = asyncio.Event()
        self._doubt = False  #: look whether this is still the bucket that was read

    async def batches(self) -> AsyncIterator[Batch]:
        """Give what is stored now, then what changes, in batches; heals by itself after any outage."""
        clock = asyncio.get_running_loop().time
        listening = asyncio.create_task(self._listen())
        touched, fresh = clock(), True
        try:
            while True:
                doubted, found = self._doubt or fresh, False
                try:
                    if self._doubt and (clock() - touched > FORGETS or not await self._is_the_same()):
                        self._position, fresh = 0, True
                    self._doubt = False
                    async for batch in self._read(fresh):
                        touched, fresh = clock(), fresh and not batch.whole
                        found = found or bool(batch.items)
                        yield batch
                except (BusUnavailable, NotFound) as error:
                    self._doubt = True
                    yield Batch(trouble=error.message)
                    await asyncio.sleep(self._retry)
                    continue
                if not found and not doubted:
                    self._suspect()  # told of a change that is not here: it may be another bucket's
                await self._news.wait()
                await asyncio.sleep(GATHER)
                self._news.clear()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _read(self, fresh: bool) -> AsyncIterator[Batch]:
        """Read on from the position to the end."""
        batch = Batch(fresh=fresh)
        async for item in self._bucket.scan("*.*.*", start=self._position + 1):
            batch.items.append(item)
            if len(batch.items) >= BATCH:
                yield self._take(batch)
                batch = Batch()
        batch.whole = True
        yield self._take(batch)

    def _take(self, batch: Batch) -> Batch:
        for item in batch.items:
            if item.revision > self._position:
                self._position, self._last_key = item.revision, item.key
        return batch

    async def _is_the_same(self) -> bool:
        """Tell whether the bucket is the one that was read so far, and not a new one under its name."""
        if not self._position:
            return False
        if (await self._bus.state(self._bucket.stream)).last < self._position:
            return False
        subject = subjects.bucket_subject(subjects.BUCKET_TASKS, self._last_key)
        message = await self._bus.last(self._bucket.stream, subject, leader=True)
        return message is not None and message.seq >= self._position

    async def _listen(self) -> None:
        while True:
            try:
                async with self._bus.follow(subjects.CHANGES) as messages:
                    self._suspect()  # something may have happened before this
                    async for message in patient(messages, self._silence):
                        if message is None:
                            self._suspect()
                        self._news.set()
            except BusUnavailable:
                await asyncio.sleep(self._retry)

    def _suspect(self) -> None:
        self._doubt = True
        self._news.set()
