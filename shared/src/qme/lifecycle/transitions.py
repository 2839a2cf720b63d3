"""The transitions, one function per event. The package's docstring names the events and who sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from qme.contracts.tasks import Attempt, CancelRequest, Claim, Outcome, Status, TaskRecord
from qme.errors import IllegalTransition
from qme.lifecycle.events import (
    CancelAsked,
    Claimed,
    Dequeue,
    Effect,
    Ended,
    Enqueue,
    Event,
    Finish,
    Nudge,
    Progressed,
    Released,
    Rerun,
    Retry,
    Started,
    Vanished,
)
from qme.lifecycle.records import KEPT_ATTEMPTS, story

#: characters of a record's reason: a sentence; more would crowd out the data of a record that has to fit a message
KEPT_SENTENCE = 1000
#: characters of a reason kept in an attempt's line, so that a line stays under 300 bytes
KEPT_REASON = 120
#: seconds before a retry, however often the delay has been multiplied
LONGEST_DELAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Transition:
    """The record after the event and what must be done once it is written, in this order."""

    record: TaskRecord
    effects: tuple[Effect, ...] = ()
    unchanged: bool = False


def advance(record: TaskRecord, event: Event) -> Transition:
    """Apply one event.

    Raises IllegalTransition where the state does not allow the event; the message holds the task's story. Safe to
    repeat: an event that has been applied already gives an unchanged transition.
    """
    match event:
        case Released():
            return _released(record, event)
        case Claimed():
            return _claimed(record, event)
        case Started():
            return _started(record, event)
        case Progressed():
            return _progressed(record, event)
        case CancelAsked():
            return _cancel_asked(record, event)
        case Ended():
            return _ended(record, event)
        case Vanished():
            return _vanished(record, event)
        case Rerun():
            return _rerun(record, event)


# -- one function per event ------------------------------------------------------------------------------------------
def _illegal(record: TaskRecord, event: Event, why: str) -> IllegalTransition:
    return IllegalTransition(f"{story(record)}: {type(event).__name__} is not allowed, {why}")


def _same(record: TaskRecord) -> Transition:
    return Transition(record, unchanged=True)


def _with(record: TaskRecord, **changes: Any) -> TaskRecord:
    return record.model_copy(update=changes)


def _released(record: TaskRecord, event: Released) -> Transition:
    if record.ended or record.released is not None:
        return _same(record)
    released = _with(record, released=event.at, not_before=None)
    return Transition(released, (Enqueue(record.key, record.attempt),))


def _claimed(record: TaskRecord, event: Claimed) -> Transition:
    if record.claim is not None and record.claim.nonce == event.nonce and record.attempt == event.attempt:
        return _same(record)
    if event.attempt != record.attempt or not record.due or record.ended:
        raise _illegal(record, event, "the attempt is not waiting for a worker")
    if record.cancel is not None:
        raise _illegal(record, event, "it is to be cancelled")
    claim = Claim(worker=event.worker, nonce=event.nonce, at=event.at)
    return Transition(_with(record, claim=claim, worker=event.worker))


def _started(record: TaskRecord, event: Started) -> Transition:
    if event.attempt != record.attempt or record.ended:
        return _same(record)
    if record.claim is None:
        raise _illegal(record, event, "nobody has claimed it")
    started = event.at if event.status is Status.RUNNING else None
    changes = {
        "status": event.status,
        "started": record.started or started,
        "data": {**record.data, **event.data},
    }
    return Transition(_with(record, **changes))


def _progressed(record: TaskRecord, event: Progressed) -> Transition:
    if event.attempt != record.attempt or record.ended:
        return _same(record)
    if record.claim is None:
        raise _illegal(record, event, "nobody has claimed it")
    status = event.status or record.status
    started = event.started or record.started
    if started is None and status is Status.RUNNING:
        raise _illegal(record, event, "a running task needs a time of starting")
    after = _with(
        record,
        status=status,
        started=started,
        reason=_sentence(event.reason) if event.reason is not None else record.reason,
        data={**record.data, **event.data},
    )
    return Transition(after, unchanged=after == record)


def _cancel_asked(record: TaskRecord, event: CancelAsked) -> Transition:
    stale = event.attempt is not None and event.attempt != record.attempt
    if record.ended or stale:
        return _same(record)
    if record.claim is not None:
        nudge = (Nudge(record.key, record.claim.worker),)
        if record.cancel is not None:
            return Transition(record, nudge, unchanged=True)
        wish = _wish(event)
        return Transition(_with(record, cancel=wish), nudge)
    wish = _wish(event)
    why = f"cancelled by {event.by} before it started" + (f": {event.reason}" if event.reason else "")
    ended = _close(_with(record, cancel=wish), Outcome.CANCELLED, event.at, why)
    return Transition(ended, (Dequeue(record.key), Finish(record.key, Outcome.CANCELLED)))


def _ended(record: TaskRecord, event: Ended) -> Transition:
    if event.attempt != record.attempt:
        return _late_report(record, event)
    if record.ended and not record.provisional:
        return _same(record)
    if not record.ended and record.claim is None:
        raise _illegal(record, event, "nobody has claimed it")
    corrected = record.provisional
    record = _with(
        record,
        data={**record.data, **event.data},
        started=event.started or record.started,
        provisional=False,
    )
    if _retries(record, event.outcome):
        return _next_attempt(record, event)
    closed = _close(record, event.outcome, event.at, event.reason)
    return Transition(closed, (Finish(record.key, event.outcome, corrected),))


def _retries(record: TaskRecord, outcome: Outcome) -> bool:
    wanted = outcome in record.retry.on and record.retries < record.retry.limit
    return wanted and record.cancel is None


def _next_attempt(record: TaskRecord, event: Ended) -> Transition:
    delay = min(record.retry.delay * record.retry.backoff**record.retries, LONGEST_DELAY)
    not_before = event.at + timedelta(seconds=delay)
    closed = _close(record, event.outcome, event.at, event.reason)
    fresh = _fresh(closed, event.outcome, retries=record.retries + 1, not_before=not_before)
    return Transition(fresh, (Retry(record.key, not_before),))


def _vanished(record: TaskRecord, event: Vanished) -> Transition:
    if event.attempt != record.attempt or record.ended or record.claim is None:
        return _same(record)
    lost = _with(_close(record, Outcome.LOST, event.at, event.reason), provisional=True)
    return Transition(lost, (Finish(record.key, Outcome.LOST),))


def _rerun(record: TaskRecord, event: Rerun) -> Transition:
    if event.attempt is not None and event.attempt != record.attempt:
        return _same(record)
    if record.outcome is None:
        raise _illegal(record, event, "it has not ended; cancel it first")
    if record.provisional and not event.force:
        raise _illegal(
            record, event, "it may still be running where nobody sees it; --force starts it all the same"
        )
    fresh = _with(_fresh(record, record.outcome, retries=0, not_before=None), released=event.at)
    return Transition(fresh, (Enqueue(record.key, fresh.attempt),))


def _close(record: TaskRecord, outcome: Outcome, at: datetime, reason: str | None) -> TaskRecord:
    status = {Outcome.CANCELLED: Status.CANCELLED, Outcome.LOST: Status.LOST}.get(outcome, Status.COMPLETE)
    return _with(
        record,
        status=status,
        outcome=outcome,
        finished=at,
        reason=_sentence(reason),
        claim=None,
        released=None,
        not_before=None,
    )


def _fresh(ended: TaskRecord, outcome: Outcome, *, retries: int, not_before: datetime | None) -> TaskRecord:
    """Move the ended attempt into the history and begin the next one, waiting for its release."""
    past = Attempt(
        attempt=ended.attempt,
        outcome=outcome,
        worker=ended.worker,
        started=ended.started,
        finished=ended.finished,
        returncode=_returncode(ended.data),
        reason=ended.reason[:KEPT_REASON] if ended.reason else None,
    )
    return _with(
        ended,
        status=Status.QUEUED,
        outcome=None,
        reason=None,
        attempt=ended.attempt + 1,
        attempts=(*ended.attempts, past)[-KEPT_ATTEMPTS:],
        started=None,
        finished=None,
        worker=None,
        claim=None,
        released=None,
        not_before=not_before,
        cancel=None,
        provisional=False,
        retries=retries,
        data={},
    )


def _late_report(record: TaskRecord, event: Ended) -> Transition:
    """A report on an earlier attempt corrects that attempt's line in the history and nothing else."""
    lines = list(record.attempts)
    for index, line in enumerate(lines):
        if (
            line.attempt == event.attempt
            and line.outcome is Outcome.LOST
            and event.outcome is not Outcome.LOST
        ):
            changes = {
                "outcome": event.outcome,
                "finished": event.at,
                "returncode": _returncode(event.data),
                "reason": event.reason[:KEPT_REASON] if event.reason else None,
            }
            lines[index] = line.model_copy(update=changes)
            return Transition(_with(record, attempts=tuple(lines)))
    return _same(record)


def _sentence(reason: str | None) -> str | None:
    return reason[:KEPT_SENTENCE] if reason else reason


def _wish(event: CancelAsked) -> CancelRequest:
    return CancelRequest(by=event.by, at=event.at, reason=_sentence(event.reason))


def _returncode(data: Mapping[str, Any]) -> int | None:
    code = data.get("returncode")
    return code if isinstance(code, int) else None
