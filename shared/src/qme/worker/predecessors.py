"""The other workers of the pool, by their heartbeats: who is there, and can those that held an attempt still act.

Reads only.
"""

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


async def heartbeats(bus: Bus, executor: str, pool: str) -> list[Heartbeat]:
    """Give what the living workers of a pool say of themselves. Raises BusUnavailable."""
    bucket = Bucket(bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    # One by one and by key: more of the bucket a worker may not read.
    found = [
        await bucket.get(subjects.heartbeat_key(executor, pool, worker))
        for worker in sorted(await heard(bus, executor, pool))
    ]
    return [entry.value for entry in found if entry is not None]


async def are_over(bus: Bus, executor: str, pool: str, holders: Iterable[Holder]) -> bool:
    """Tell whether none of these workers can still be at what it was at: it is back, or its host was rebooted.

    The latter is told by any worker of the pool on that host. Raises BusUnavailable.
    """
    beats = await heartbeats(bus, executor, pool)
    return all(any(_is_back(holder, beat) for beat in beats) for holder in holders)


def _is_back(holder: Holder, beat: Heartbeat) -> bool:
    rebooted = None not in (holder.boot, beat.boot) and beat.boot != holder.boot
    return beat.worker == holder.worker or (beat.host == holder.host and rebooted)
