"""Specs that never got a record: their submission broke off, and nobody was told an id.

They are dropped after an hour and not finished here: a request carries an end (30 s), and must not be carried out long
after it. The same submission sent again, with the same uuid or key, is what finishes one.
"""

from __future__ import annotations

import time

from qme.bus.kv import Entry
from qme.contracts import subjects
from qme.errors import Conflict
from qme.observe.logging import get_logger
from qme_submitter.buckets import Buckets

log = get_logger(__name__)

#: seconds after which a spec without a record is dropped; no shorter than the marker of a cleared record stays
ORPHANED = 3600.0
#: seconds between two comparisons of all names
EVERY = 300.0


class Orphans:
    """Finds specs without a record by comparing names, not contents."""

    def __init__(self, buckets: Buckets, *, every: float = EVERY) -> None:
        self._buckets = buckets
        self._every = every
        self._next = 0.0
        self._specs_last = -1
        self._young: set[str] = set()

    async def drop(self) -> None:
        """Drop what is old enough; does nothing at all between its times. Safe to repeat."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        state = await self._buckets.bus.state(self._buckets.specs.stream)
        if state.last == self._specs_last and not self._young:
            return
        self._specs_last = state.last
        self._young.clear()
        # Specs first: one that is written in between then has no record yet, but is young.
        specs = await self._keys(subjects.BUCKET_SPECS)
        for key in sorted(specs - await self._keys(subjects.BUCKET_TASKS)):
            await self._judge(key)

    async def _keys(self, bucket: str) -> set[str]:
        stream, every = subjects.bucket_stream(bucket), subjects.bucket_subject(bucket, ">")
        return {subjects.bucket_key(bucket, name) for name in await self._buckets.bus.subjects(stream, every)}

    async def _judge(self, key: str) -> None:
        spec = await self._buckets.specs.look(key, leader=True)
        if not isinstance(spec, Entry) or spec.time is None:
            return
        if (self._buckets.clock() - spec.time).total_seconds() < ORPHANED:
            self._young.add(key)
            return
        try:
            # A marker where the record would be: whoever is just about to create it loses.
            await self._buckets.records.delete(key, 0)
            await self._buckets.specs.delete(key, spec.revision)
        except Conflict:
            return
        log.info("janitor.spec_dropped", key=key)
