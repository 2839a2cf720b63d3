"""Who of several submitters does the shared chores: a key that expires. Two holders at once cost work, never safety."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel

from qme.bus.kv import Bucket
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.errors import Conflict


class Holder(BaseModel):
    """Who holds the lease, for people who look."""

    holder: str
    since: datetime


class Lease:
    """A lease of `ttl` seconds (a whole number), taken and renewed by compare-and-set."""

    def __init__(
        self, bus: Bus, holder: Holder, ttl: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, subjects.BUCKET_CONTROL, Holder)
        self._holder = holder
        self._ttl = ttl
        self._clock = clock
        self._revision = 0
        self._written_at = 0.0
        self._asking = asyncio.Lock()

    @property
    def beat(self) -> float:
        """Seconds after which a lease that is held has to be renewed, and one that is not may have become free."""
        return self._ttl / 3

    async def hold(self) -> bool:
        """Take or renew the lease; cheap while it is young. Raises BusUnavailable."""
        async with self._asking:
            return await self._hold()

    async def _hold(self) -> bool:
        now = self._clock()
        if self._revision and now - self._written_at < self.beat:
            return True
        revision, self._revision = self._revision, 0
        try:
            if revision:
                self._revision = await self._bucket.update(
                    subjects.LEADER_KEY, self._holder, revision, ttl=self._ttl
                )
            else:
                self._revision = await self._bucket.create(subjects.LEADER_KEY, self._holder, ttl=self._ttl)
        except Conflict:
            return False
        self._written_at = now
        return True

    async def renew(self) -> None:
        """Keep a lease that is held through work that takes long; cheap while it is young. Raises BusUnavailable."""
        if self._revision:
            await self.hold()

    async def release(self) -> None:
        """Leave the lease to the next one at once, if it is held."""
        if self._revision:
            subject = subjects.bucket_subject(subjects.BUCKET_CONTROL, subjects.LEADER_KEY)
            self._revision = 0
            await self._bus.purge(self._bucket.stream, subject)
