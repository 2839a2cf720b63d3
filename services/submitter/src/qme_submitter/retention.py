"""Removes tasks that ended long ago (setting `records_keep`), a bounded piece at a time. Logs and events age by
themselves, the spool is its worker's.

Two clocks have to agree that it is long ago: `finished` is a worker's, the time of the record's last write is the bus
server's, and "now" is the earlier one of the submitter's and the server's. So one clock that is wrong removes nothing.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from qme.bus.kv import Entry, Removed
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey, log_filter
from qme.contracts.tasks import TaskRecord
from qme.errors import Conflict
from qme.observe.logging import get_logger
from qme_submitter.removal import Removal

log = get_logger(__name__)

#: tasks that one piece removes at most; each costs four requests, and a purge where it has output
PIECE = 500
#: tasks that are removed at the same time
TOGETHER = 16
#: longest time between two looks at what is oldest, in seconds
EVERY = 3600.0


class Retention:
    """Removes what is older than `keep` seconds (0: nothing ever)."""

    def __init__(self, removal: Removal, keep: float) -> None:
        self._buckets = removal.buckets
        self._removal = removal
        self._keep = keep
        self._every = min(EVERY, keep / 10)
        self._next = 0.0

    async def apply(self) -> int:
        """Remove a piece of what is too old, and say how many; nothing at all between its times. Safe to repeat."""
        if not self._keep or time.monotonic() < self._next:
            return 0
        old = await self._old()
        if old:
            # One request for all tells which have output; most have lost it to its own age by now.
            logs = await self._buckets.bus.subjects(subjects.LOGS, log_filter("*"))
            # Their subjects are workers' words: an odd one must not keep everything from ever being removed.
            with_output = {name.split(".")[4] for name in logs}
            for at in range(0, len(old), TOGETHER):
                await asyncio.gather(*(self._remove(entry, with_output) for entry in old[at : at + TOGETHER]))
            log.info("retention.removed", tasks=len(old))
        if len(old) < PIECE:
            self._next = time.monotonic() + self._every
        return len(old)

    async def _old(self) -> list[Entry[TaskRecord]]:
        """Find what is to be removed, oldest change first: the bucket is read no further than that."""
        before = await self._now() - timedelta(seconds=self._keep)
        found: list[Entry[TaskRecord]] = []
        async for seen in self._buckets.records.scan():
            if isinstance(seen, Entry) and seen.time is not None and seen.time >= before:
                break
            if (
                isinstance(seen, Entry)
                and str(seen.value.key) == seen.key
                and _ended_before(seen.value, before)
            ):
                found.append(seen)
                if len(found) == PIECE:
                    break
        return found

    async def _now(self) -> datetime:
        """Tell the time: the bus server's where that is earlier, as it stamped the leader's lease a moment ago."""
        own = self._buckets.clock()
        lease = subjects.bucket_subject(subjects.BUCKET_CONTROL, subjects.LEADER_KEY)
        stamped = await self._buckets.bus.last(
            subjects.bucket_stream(subjects.BUCKET_CONTROL), lease, leader=True
        )
        return own if stamped is None or stamped.time is None else min(own, stamped.time)

    async def _remove(self, entry: Entry[TaskRecord], with_output: set[str]) -> None:
        key = TaskKey.parse(entry.key)
        try:
            await self._removal.decide(key, entry.revision)
        except Conflict:
            return  # rerun a moment ago, or cleared
        spec = await self._buckets.specs.look(entry.key, leader=True)
        await self._removal.follow_up(
            key, None if isinstance(spec, Removed) else spec, has_output=key.uuid in with_output
        )


def _ended_before(record: TaskRecord, moment: datetime) -> bool:
    return record.ended and record.finished is not None and record.finished < moment
