"""What becomes of a message whose task asks for more than this worker has: how long it stays away, and what its record
says where no worker that lives has more. Takes nothing.
"""

from __future__ import annotations

from qme.contracts.resources import unfit
from qme.errors import QmeError
from qme.lifecycle import Unfit
from qme.observe.logging import get_logger
from qme.worker.admission import ELSEWHERE, NOWHERE
from qme.worker.context import Context
from qme.worker.predecessors import heartbeats
from qme.worker.records import RecordEntry

log = get_logger(__name__)


async def say_unfit(context: Context, entry: RecordEntry, number: int) -> float:
    """Say in the record if no living worker can run it; give the seconds until its message shall come again.

    Never raises: what can't be said now is said the next time.
    """
    record = entry.value
    which = (record.uuid, number)
    try:
        others = await heartbeats(context.bus, context.executor.name, context.pool)
        # Our own word about ourselves: the heartbeat may be of a process before us.
        workers = [
            context.admission.capacity,
            *(one.capacity for one in others if one.worker != context.worker),
        ]
        reason = unfit(record.resources, workers)
        if reason is None:
            return ELSEWHERE
        log.warning("queue.nobody_can", task=record.uid, why=reason)
        await context.records.apply(record.key, entry, Unfit(number, reason))
    except QmeError as error:
        log.warning("queue.unfit_unsaid", task=record.uid, problem=error.message)
    return context.admission.back_off(which, first=NOWHERE)
