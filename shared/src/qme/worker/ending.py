"""The last step of an attempt: all of its output on the bus, then its end in the record. Decides no outcome."""

from __future__ import annotations

from dataclasses import replace

from qme.contracts.output import INCOMPLETE, NAMES
from qme.contracts.tasks import Outcome
from qme.errors import IllegalTransition
from qme.executor.attempts import AttemptDir
from qme.lifecycle import Ended
from qme.observe.logging import get_logger
from qme.worker.clock import now
from qme.worker.context import Context
from qme.worker.export import excerpts
from qme.worker.logs import Output
from qme.worker.records import RecordEntry
from qme.worker.spooled import mark_reported

log = get_logger(__name__)

#: what the reason says where a record's `output_replaced` or `error_replaced` is true
REPLACED = "the command emptied or rewrote its own output, as `> /dev/stdout` does; some may be lost"
#: the reason where a worker comes back too late to what it had not begun
NEVER_STARTED = "its worker was away before it could start the command, which never ran"
#: what it says where `output_incomplete` is true: a command whose writes fail may well end with success
FULL = "the disk of the worker's spool was full while it ran; some of its output may be missing"


async def report(
    context: Context,
    entry: RecordEntry,
    event: Ended,
    folder: AttemptDir,
    output: Output | None,
    since: float,
) -> None:
    """Ship what is left, write the end, and remember that nothing is left to be done. Waits while the bus is away.

    Safe to repeat. `output` is None where no command of ours ran; `since` is the second of `uptime` from which on this
    worker has had the attempt.
    """
    if output is not None:
        written, logged = await output.finish()
        own = excerpts(folder.stdout, folder.stderr, written)
        own |= {NAMES[stream].logged: count for stream, count in logged.items()}
        if output.replaced:
            own |= {NAMES[stream].replaced: True for stream in output.replaced}
            event = _because(event, f"{REPLACED}: {', '.join(output.replaced)}")
        if context.room.was_full_since(since):
            own |= {INCOMPLETE: True}
            event = _because(event, FULL)
        event = replace(event, data={**own, **event.data})
    event = replace(event, worker=context.worker)
    key = entry.value.key
    try:
        final = await context.records.apply_surely(key, entry, event)
    except IllegalTransition:
        # The bus was rolled back behind our claim, as a power cut can do. The start token kept its word: this is how
        # the attempt ended.
        back = context.records.returned(folder)
        final = await context.records.apply_surely(key, entry, back, event)
    if final is None:
        log.warning("attempt.record_gone", attempt=event.attempt, outcome=event.outcome)
    mark_reported(folder)
    context.metrics.ended(event.outcome)
    log.info(
        "attempt.ended", attempt=event.attempt, outcome=event.outcome, returncode=event.data.get("returncode")
    )


async def never_started(context: Context, entry: RecordEntry, number: int) -> None:
    """Make a provisional `lost` of ours final: the attempt was not begun and never will be. That is proof.

    Somebody may have been told that it is lost, so it is not begun late; its retry, or a rerun, is another attempt.
    """
    record = entry.value
    if record.provisional and record.attempt == number and record.worker == context.worker:
        ended = Ended(number, Outcome.LOST, now(), reason=NEVER_STARTED)
        await context.records.apply_surely(record.key, entry, ended)


def _because(event: Ended, sentence: str) -> Ended:
    return replace(event, reason=f"{event.reason}; {sentence}" if event.reason else sentence)
