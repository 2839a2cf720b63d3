"""Whether workers that held an attempt before can still act upon it: reads heartbeats, takes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from qme.bus.kv import Bucket, Entry
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import Holder


async def are_over(bus: Bus, holders: Iterable[Holder]) -> bool:
    """Tell whether none of these workers can still be at what it was at: it is back, or its host was rebooted.

    Raises BusUnavailable.
    """
    beats = [
        seen.value
        async for seen in Bucket(bus, subjects.BUCKET_EXECUTORS, Heartbeat).scan("hb.*.*.*")
        if isinstance(seen, Entry)
    ]
    return all(any(_is_back(holder, beat) for beat in beats) for holder in holders)


def _is_back(holder: Holder, beat: Heartbeat) -> bool:
    rebooted = None not in (holder.boot, beat.boot) and beat.boot != holder.boot
    return beat.worker == holder.worker or (beat.host == holder.host and rebooted)
