"""Whose worker has been silent for so long that its task counts as lost, provisionally. Concludes; changes nothing.

Silence is what this process itself has heard nothing in: it looks, again and again, whether the heartbeat is there, by
the leader's word. Whatever keeps it from looking (a bus that is away or was made anew, a machine that sleeps, a process
that is stopped, a lease that comes late) leaves it in doubt, and the silence begins anew. No wall clock plays a part.
A change of the task's record is a sign of life too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from qme.contracts import subjects
from qme.contracts.subjects import TaskKey, bucket_subject, heartbeat_key
from qme.contracts.tasks import TaskRecord
from qme.lifecycle import Vanished
from qme.settings import duration
from qme_submitter.buckets import Buckets
from qme_submitter.registry import Registry

_STREAM = subjects.bucket_stream(subjects.BUCKET_EXECUTORS)
_EVERY_HEARTBEAT = bucket_subject(subjects.BUCKET_EXECUTORS, heartbeat_key("*", "*", "*"))
#: looks in the time that a worker may be silent
LOOKS = 60
#: a gap of more than this many pauses between two looks is no silence but deafness
DEAF = 5


@dataclass(slots=True)
class _Watched:
    """An attempt that a worker holds: who, where the record stood, and since when (monotonic) nothing was heard."""

    worker: str
    attempt: int
    revision: int
    since: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A task is lost, if its record still stands at this revision: any change of it is a sign of life."""

    key: TaskKey
    revision: int
    event: Vanished


class Silence:
    """Watches the workers of claimed tasks."""

    def __init__(
        self,
        buckets: Buckets,
        registry: Registry,
        lost_after: float,
        pause: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lost_after`: seconds of silence that make a task lost; `pause`: shortest time between two looks."""
        self._buckets = buckets
        self._registry = registry
        self._lost_after = lost_after
        self._pause = max(pause, lost_after / LOOKS)
        self._clock = clock
        self._held: dict[str, _Watched] = {}
        self._looked = clock()

    def note(self, key: str, revision: int, record: TaskRecord | None) -> None:
        """Take in how a record stands; None: it is gone, or can't be read."""
        if record is None or record.claim is None:
            self._held.pop(key, None)
            return
        before = self._held.get(key)
        if before is None or before.revision != revision:
            self._held[key] = _Watched(record.claim.worker, record.attempt, revision, self._clock())

    def forget(self) -> None:
        """Forget everything: the records are read anew."""
        self._held.clear()

    async def look(self) -> list[Verdict]:
        """Look for heartbeats, and give what is lost. Costs one request per pause, none while nothing is held.

        Raises BusUnavailable.
        """
        now = self._clock()
        if not self._held or now - self._looked < self._pause:
            return []
        deaf = now - self._looked > DEAF * self._pause
        living = await self._buckets.bus.subjects(_STREAM, _EVERY_HEARTBEAT)
        self._looked = now
        lost = []
        for text, held in self._held.items():
            key = TaskKey.parse(text)
            sign = bucket_subject(
                subjects.BUCKET_EXECUTORS, heartbeat_key(key.executor, key.pool, held.worker)
            )
            if deaf or sign in living or not self._concerns(key):
                held.since = now
            elif now - held.since >= self._lost_after:
                lost.append(Verdict(key, held.revision, self._vanished(held)))
        return lost

    def _concerns(self, key: TaskKey) -> bool:
        # Where nobody says that a worker's silence means something, it means nothing.
        definition = self._registry.definition(key.executor, key.pool)
        return definition is not None and definition.lost_by_silence

    def _vanished(self, held: _Watched) -> Vanished:
        span = duration().show(self._lost_after)
        reason = f"nothing was heard of its worker {held.worker} for {span}; should it come back, it tells the truth"
        return Vanished(held.attempt, held.worker, self._buckets.clock(), reason)
