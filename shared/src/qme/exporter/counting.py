"""Takes the audit trail into the totals: pull, count, save, acknowledge, in this order. Only what is saved is shown.

So a crash at any point repeats work and counts nothing twice, and what was shown once is never taken back. Any number
of exporters may do this at once: they share the consumer, and the save is a compare-and-set, after which the loser
counts its batch anew on top of the winner's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable

from qme.bus.kv import Bucket, Corrupt, Entry
from qme.bus.port import Bus, Delivery
from qme.contracts import subjects
from qme.errors import BusUnavailable, Conflict, NotFound, RecordCorrupt
from qme.exporter.totals import Saved, Totals
from qme.observe.logging import get_logger

log = get_logger(__name__)

#: events that are counted together at most, and seconds that they are gathered for
BATCH, GATHER = 2000, 0.25
#: seconds between two tries while the bus is away
RETRY = 1.0
#: seconds until totals that another exporter may have saved are read again
REFRESH = 5.0


class Counting:
    """The totals of one exporter; `run` keeps them."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, subjects.BUCKET_CONTROL, Saved)
        self._clock = clock
        self._revision = 0
        self._batch: list[Delivery] = []
        self._places: frozenset[tuple[str, str]] = frozenset()
        self._set_back_to: int | None = None
        self._news, self._more = asyncio.Event(), asyncio.Event()
        self.totals = Totals()  #: as saved last
        self.saved_at = 0.0  #: when, in seconds since the epoch; 0: nothing was read yet
        self.repeated = 0

    async def run(self) -> None:
        """Count until cancelled; survives any loss of the bus. Raises NotPermitted."""
        await self._patiently()
        async with self._bus.pull(
            subjects.EVENTS,
            subjects.EXPORTER,
            credit=lambda: max(0, BATCH - len(self._batch)),
            more=self._more,
        ) as deliveries:
            taking = asyncio.create_task(self._take(deliveries))
            try:
                while not taking.done():
                    await self._gathered()
                    await self._patiently()
                await taking  # it never ends by itself: this raises why
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    def know(self, places: Iterable[tuple[str, str]]) -> None:
        """Let executors and pools that there are have series, before anything was counted there."""
        found = frozenset(places)
        if found - self._places:
            self._places |= found
            self._news.set()

    def set_back(self, last: int) -> None:
        """Take note that the bus's records end at revision `last`, which is below what was counted."""
        self._set_back_to = last
        self._news.set()

    async def _take(self, deliveries: AsyncIterator[Delivery]) -> None:
        async for delivery in deliveries:
            self._batch.append(delivery)
            self._news.set()

    async def _gathered(self) -> None:
        try:
            async with asyncio.timeout(REFRESH):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER)
        self._news.clear()

    async def _patiently(self) -> None:
        while True:
            try:
                return await self._work()
            except (BusUnavailable, NotFound) as error:
                log.warning("exporter.totals_wait", error=error.message)
            except RecordCorrupt as error:
                # Beginning at 0 is for an operator to decide, who removes the key.
                log.warning("exporter.totals_unreadable", error=error.message)
            await asyncio.sleep(RETRY)

    async def _work(self) -> None:
        """Save what has come, or see what others saved. Raises what the bus raises."""
        batch = self._batch[:BATCH]
        if not batch or not self.saved_at:
            await self._read()
        while True:
            draft = Totals(self.totals.save())
            if not self._change(draft, batch):
                break
            try:
                self._revision = await self._bucket.update(subjects.TOTALS_KEY, draft.save(), self._revision)
            except Conflict:
                await self._read()
                continue
            self._set_back_to = None
            self._show(draft)
            break
        self.repeated += draft.repeated
        del self._batch[: len(batch)]
        self._more.set()
        for delivery in batch:
            await delivery.ack()

    def _change(self, draft: Totals, batch: Iterable[Delivery]) -> bool:
        """Bring a draft up to date; tells whether it differs from what is saved."""
        position = draft.position
        changed = self._set_back_to is not None and draft.seen.cut(self._set_back_to)
        changed = draft.know(sorted(self._places)) or changed
        for delivery in batch:
            changed = draft.count(delivery.message) or changed
        return changed or draft.position != position

    async def _read(self) -> None:
        """Read what is saved, by the leader's word. Where there is nothing the totals begin at 0."""
        seen = await self._bucket.look(subjects.TOTALS_KEY, leader=True)
        if isinstance(seen, Corrupt):
            raise RecordCorrupt(seen.problem)
        revision = seen.revision if seen is not None else 0
        if revision != self._revision or not self.saved_at:
            try:
                found = Totals(seen.value if isinstance(seen, Entry) else None)
            except ValueError as error:
                raise RecordCorrupt(f"{subjects.TOTALS_KEY} can't be read: {error}") from error
            self._revision = revision
            self._show(found)

    def _show(self, totals: Totals) -> None:
        self.totals = totals
        self.saved_at = self._clock()
