"""Finds attempts of workers of the pool that have fallen silent, and takes them over, where the executor can go on.

Silence is what this process itself has heard nothing in, look after look, for a whole lease: by then the other one, if
it lives, begins nothing any more without reading the record. The claim is replaced by compare-and-set, so of several
that try one succeeds, and whoever comes back finds that it has lost it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from qme.bus.kv import Entry
from qme.contracts.tasks import TaskRecord
from qme.errors import Conflict, IllegalTransition, QmeError
from qme.lifecycle import TakenOver, advance
from qme.observe.logging import get_logger
from qme.worker.clock import uptime
from qme.worker.context import Context
from qme.worker.predecessors import heard
from qme.worker.records import RecordEntry

log = get_logger(__name__)

#: a gap of more than so many intervals between two looks is no silence but deafness
DEAF = 5


class Watch:
    """Watches the other workers of the pool."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._claims: dict[str, str] = {}  #: worker by the key of the task that it holds
        self._silent: dict[str, float] = {}  #: workers that are not heard, and since when (CLOCK_BOOTTIME)
        self._read_to = 0
        self._doubt = False
        self._looked = uptime()

    def forget(self) -> None:
        """Read everything anew with the next look: the bus was set back, and its sequences may have caught up."""
        self._doubt = True

    async def taken(self) -> AsyncIterator[tuple[RecordEntry, float]]:
        """Give the records of attempts as they are taken over, for ever; while the bus is away, nothing is."""
        interval = self._context.settings.heartbeat
        while True:
            try:
                for key in await self._orphans():
                    found = await self._take(key)
                    if found is not None:
                        yield found
            except QmeError as error:
                log.warning("takeover.wait", problem=error.message)
            await asyncio.sleep(interval)

    async def _orphans(self) -> list[str]:
        """Look once; give the tasks whose workers have been silent for a lease."""
        context, now = self._context, uptime()
        await self._read()
        deaf = now - self._looked > DEAF * context.settings.heartbeat
        self._looked = now
        living = await heard(context.bus, context.executor.name, context.pool)
        holding = set(self._claims.values())
        for worker in [one for one in self._silent if deaf or one in living or one not in holding]:
            del self._silent[worker]
        for worker in holding - living:
            self._silent.setdefault(worker, now)
        given_up = {one for one, since in self._silent.items() if now - since >= context.settings.lease}
        return [key for key, worker in self._claims.items() if worker in given_up]

    async def _read(self) -> None:
        """Follow which tasks others hold."""
        context = self._context
        tasks = context.records.tasks
        last = (await context.bus.state(tasks.stream)).last
        if self._doubt or last < self._read_to:  # the bucket was made anew, or shows an older state
            self._doubt = False
            self._claims.clear()
            self._read_to = 0
        if last == self._read_to:
            return
        async for seen in tasks.scan(f"{context.executor.name}.{context.pool}.*", start=self._read_to + 1):
            claim = seen.value.claim if isinstance(seen, Entry) else None
            if claim is None or claim.worker == context.worker:
                self._claims.pop(seen.key, None)
            else:
                self._claims[seen.key] = claim.worker
        self._read_to = last

    async def _take(self, key: str) -> tuple[RecordEntry, float] | None:
        context = self._context
        entry = await context.records.tasks.get(key, leader=True)
        if entry is None or not context.records.is_about_its_key(entry) or not self._may_take(entry.value):
            self._claims.pop(key, None)
            return None
        record = entry.value
        assert record.claim is not None  # noqa: S101 -- `_may_take` has looked
        event = TakenOver(context.records.claim(record.attempt), record.claim.nonce)
        read_at = uptime()
        try:
            taken = await context.records.write(record.key, entry, advance(record, event).record)
        except (Conflict, IllegalTransition):
            return None  # somebody was quicker, or its worker lives: the next look tells
        log.warning("takeover.taken", task=record.uid, attempt=record.attempt, of=record.claim.worker)
        self._claims.pop(key, None)
        return taken, read_at

    def _may_take(self, record: TaskRecord) -> bool:
        claim = record.claim
        return claim is not None and claim.worker in self._silent and not record.ended
