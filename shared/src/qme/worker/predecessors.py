"""Whether workers that held an attempt before can still act upon it: reads heartbeats of the pool, takes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from qme.bus.kv import Bucket
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import Holder

_STREAM = subjects.bucket_stream(subjects.BUCKET_EXECUTORS)


async def heard(bus: Bus, executor: str, pool: str) -> set[str]:
    """Give the workers of a pool whose heartbeats are there, by the leader's word. Raises BusUnavailable."""
    pattern = subjects.bucket_subject(subjects.BUCKET_EXECUTORS, subjects.heartbeat_key(executor, pool, "*"))
    return {subject.rpartition(".")[2] for subject in await bus.subjects(_STREAM, pattern)}


async def are_over(bus: Bus, executor: str, pool: str, holders: Iterable[Holder]) -> bool:
    """Tell whether none of these workers can still be at what it was at: it is back, or its host was rebooted.

    The latter is told by any worker of the pool on that host. Raises BusUnavailable.
    """
    bucket = Bucket(bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    # One by one and by key: more of the bucket a worker may not read.
    found = [
        await bucket.get(subjects.heartbeat_key(executor, pool, worker))
        for worker in sorted(await heard(bus, executor, pool))
    ]
    beats = [entry.value for entry in found if entry is not None]
    return all(any(_is_back(holder, beat) for beat in beats) for holder in holders)


def _is_back(holder: Holder, beat: Heartbeat) -> bool:
    rebooted = None not in (holder.boot, beat.boot) and beat.boot != holder.boot
    return beat.worker == holder.worker or (beat.host == holder.host and rebooted)
