"""How many tasks of each user wait for a worker, for the submitters' setting `queued_max`. Refuses; writes nothing.

Nothing is counted while the bus holds fewer records than one user may have waiting, which costs a number that is asked
for anyway. From most of that on, what has changed is read every few seconds. So the count lacks what other submitters
took in within the last `FRESH` seconds and while it was read; what this one takes counts at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

from qme.bus import kv
from qme.bus.port import Message
from qme.errors import QmeError, TooManyTasks
from qme.observe.logging import get_logger
from qme_submitter.buckets import Buckets

log = get_logger(__name__)

#: seconds that what was read stays good
FRESH = 3.0
#: share of the limit, as records of all users, from which they are counted
BEGIN = 0.8
#: seconds that a submission waits for a count that has begun
PATIENCE = 5.0


class Quota:
    """The tasks that wait, by user; `limit` 0 lets everybody have any number."""

    def __init__(self, buckets: Buckets, limit: int) -> None:
        self._bus = buckets.bus
        self._stream = buckets.records.stream
        self._limit = limit
        #: uuid to user of what waits: all of it while it is counted, else what was taken lately
        self._waiting: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        #: taken since the last look at the bus began, and since the one before
        self._young: set[str] = set()
        self._old: set[str] = set()
        #: records on the bus at that look; None: it was never looked at
        self._records: int | None = None
        self._looked_at = float("-inf")
        #: up to which revision records were read; None: they are not counted
        self._position: int | None = None
        self._complete = False
        self._looking: asyncio.Task[None] | None = None

    async def take(self, user: str, uuid: str) -> bool:
        """Count a task that is about to be stored; False where it is counted already, or nothing is.

        Raises TooManyTasks.
        """
        if not self._limit:
            return False
        if time.monotonic() - self._looked_at > FRESH:
            self._look()
        if self._records is None or (self._is_near() and not self._complete):
            # As far as is known so far: then it may be near only now, and has to be counted first.
            for _ in range(2):
                await asyncio.wait({self._look()}, timeout=PATIENCE)
                if self._complete or not self._is_near():
                    break
        if uuid in self._waiting:
            return False
        if self._counts[user] >= self._limit:
            raise TooManyTasks(
                f"{user} has {self._counts[user]} tasks waiting for a worker, and {self._limit} is the limit here "
                "(queued_max); submit again when some have been started, or `qme cancel --all --status queued`"
            )
        self._put(uuid, user)
        self._young.add(uuid)
        return True

    def give_back(self, uuid: str) -> None:
        """Count no more what was not stored after all."""
        user = self._waiting.pop(uuid, None)
        if user is not None:
            self._counts[user] -= 1

    def _put(self, uuid: str, user: str) -> None:
        self.give_back(uuid)
        self._waiting[uuid] = user
        self._counts[user] += 1

    def _is_near(self) -> bool:
        """Tell whether somebody may have as many waiting: there are nearly as many records."""
        known = (self._records or 0) + len(self._young) + len(self._old)
        return known >= BEGIN * self._limit

    def _look(self) -> asyncio.Task[None]:
        if self._looking is None:
            self._looking = asyncio.create_task(self._read())
        return self._looking

    async def _read(self) -> None:
        try:
            old, self._old, self._young = self._old, self._young, set()
            state = await self._bus.state(self._stream)
            self._records = state.messages
            if self._is_near():
                await self._count(state.last)
            else:
                if self._position is not None:
                    self._forget()
                for uuid in old:  # they are among the records by now
                    self.give_back(uuid)
        except QmeError as error:
            # Not knowing is no reason to refuse.
            log.warning("quota.unknown", error=error.message)
        finally:
            self._looked_at = time.monotonic()
            self._looking = None

    async def _count(self, last: int) -> None:
        if self._position is not None and last < self._position:
            # The bucket was made anew, or the bus was set back.
            self._forget()
        self._position = self._position or 0
        async for message in self._bus.read(self._stream, start=self._position + 1):
            self._position = message.seq
            uuid = message.subject.rpartition(".")[2]
            user = _who_waits(message)
            if user is None:
                self.give_back(uuid)
            else:
                self._put(uuid, user)
        self._complete = True

    def _forget(self) -> None:
        for uuid in self._waiting.keys() - self._young - self._old:
            self.give_back(uuid)
        self._position, self._complete = None, False


def _who_waits(message: Message) -> str | None:
    """Give the user whose task waits by this record; None where it is with a worker, has ended or was cleared."""
    if kv.deleted(message):
        return None
    try:
        # Not by the model: thousands are read, for three of their fields.
        record = json.loads(message.data)
        if record.get("claim") is None and record.get("outcome") is None:
            return str(record["user"])
    except (ValueError, KeyError, AttributeError, RecursionError):
        log.debug("quota.unreadable", key=message.subject)
    return None
