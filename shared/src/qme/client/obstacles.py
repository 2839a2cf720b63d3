"""What keeps a task from starting, as far as a reader can see it: one sentence, or none. Changes nothing.

It knows of what lasts and what somebody can mend: nobody there, everybody paused. That all slots are taken is the usual
course of things.
"""

from __future__ import annotations

from collections.abc import Sequence

from qme.bus.port import Bus
from qme.client.executors import heartbeats
from qme.client.records import Records
from qme.contracts.executors import Heartbeat
from qme.contracts.resources import unfit
from qme.contracts.tasks import TaskRecord


async def obstacle(bus: Bus, uuid: str) -> tuple[bool, str | None]:
    """Tell whether a task has been started (or has ended), and else what it waits for, if that is worth saying."""
    record = await Records(bus).find(uuid)
    if record is None or record.ended:
        return record is not None, None
    reason = sentence(record, await heartbeats(bus, record.executor, record.pool))
    return record.claim is not None and reason is None, reason


def sentence(record: TaskRecord, workers: Sequence[Heartbeat]) -> str | None:
    """Say why nobody starts a task that could be started. Pure."""
    if record.claim is not None:
        # Claimed a moment before the pause, it may not have been started: the record can't tell.
        paused = [one.paused for one in workers if one.worker == record.claim.worker and one.paused]
        return f"{record.uid}: its worker, {record.claim.worker}, says: {paused[0]}" if paused else None
    if not record.due:
        return None
    if not workers:
        return f"{record.uid} waits: no worker of {record.executor} is alive"
    reasons = {worker.paused for worker in workers}
    if None in reasons:
        why = unfit(record.resources, [worker.capacity for worker in workers])
        return None if why is None else f"{record.uid} waits: {why}"
    return f"{record.uid} waits: {record.executor} takes nothing now, {'; '.join(sorted(map(str, reasons)))}"
