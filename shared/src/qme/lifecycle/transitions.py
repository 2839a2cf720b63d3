"""The transitions, one function per event. The package's docstring names the events and who sends them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from qme.contracts.tasks import CancelRequest, Claim, Holder, Outcome, Status, TaskRecord
from qme.errors import IllegalTransition
from qme.lifecycle.endings import begin_next, close, corrected_history, sentence
from qme.lifecycle.events import (
    CancelAsked,
    Claimed,
    Dequeue,
    Effect,
    Ended,
    Enqueue,
    Event,
    Finish,
    Gathered,
    Nudge,
    Progressed,
    Released,
    Rerun,
    Retry,
    Returned,
    Started,
    TakenOver,
    Unfit,
    Unmet,
    Vanished,
)
from qme.lifecycle.records import story

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
        case Released() | Unmet():
            return _released(record, event) if isinstance(event, Released) else _unmet(record, event)
        case Claimed() | TakenOver():
            return _claimed(record, event) if isinstance(event, Claimed) else _taken_over(record, event)
        case Started():
            return _started(record, event)
        case Progressed() | Unfit():
            return _progressed(record, event) if isinstance(event, Progressed) else _unfit(record, event)
        case CancelAsked():
            return _cancel_asked(record, event)
        case Ended() | Gathered():
            return _ended(record, event) if isinstance(event, Ended) else _gathered(record, event)
        case Vanished():
            return _vanished(record, event)
        case Returned():
            return _returned(record, event)
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
    stale = event.attempt not in (None, record.attempt)
    if stale or (record.not_before is not None and event.at < record.not_before):
        return _same(record)  # somebody who stood still meanwhile meant an earlier attempt
    released = _with(record, released=event.at, not_before=None, waiting_for=None)
    return Transition(released, (Enqueue(record.key, record.attempt),))


def _unmet(record: TaskRecord, event: Unmet) -> Transition:
    if not record.waits or record.waiting_for is None or event.attempt != record.attempt:
        return _same(record)
    ended = close(_with(record, unmet=event.parent), Outcome.CANCELLED, event.at, event.reason)
    return Transition(ended, (Finish(record.key, Outcome.CANCELLED),))


def _claimed(record: TaskRecord, event: Claimed) -> Transition:
    if record.claim is not None and record.claim.nonce == event.nonce and record.attempt == event.attempt:
        return _same(record)
    if event.attempt != record.attempt or not record.due or record.ended:
        raise _illegal(record, event, "the attempt is not waiting for a worker")
    if record.cancel is not None:
        raise _illegal(record, event, "it is to be cancelled")
    # What it waited for is no news any more.
    return Transition(_with(record, claim=_claim(event), worker=event.worker, reason=None))


def _unfit(record: TaskRecord, event: Unfit) -> Transition:
    reason = sentence(event.reason)
    waits = record.claim is None and not record.ended
    if event.attempt != record.attempt or not waits or record.reason == reason:
        return _same(record)
    return Transition(_with(record, reason=reason))


def _claim(event: Claimed | Returned, *earlier: Holder) -> Claim:
    return Claim(
        worker=event.worker,
        nonce=event.nonce,
        at=event.at,
        host=event.host,
        boot=event.boot,
        gpus=event.gpus,
        earlier=tuple(dict.fromkeys(earlier)),
    )


def _taken_over(record: TaskRecord, event: TakenOver) -> Transition:
    held, claim = record.claim, event.claim
    if held is not None and held.nonce == claim.nonce and record.attempt == claim.attempt:
        return _same(record)
    if held is None or held.nonce != event.over or record.attempt != claim.attempt:
        raise _illegal(record, event, "the claim that was seen does not stand any more")
    before = Holder(worker=held.worker, host=held.host, boot=held.boot)
    taken = _claim(claim, *held.earlier, before)
    return Transition(_with(record, claim=taken, worker=claim.worker))


def _is_anothers(record: TaskRecord, event: Progressed | Ended) -> bool:
    """Another worker has taken over what the report is about."""
    held = record.claim
    return held is not None and event.worker is not None and held.worker != event.worker


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
    if event.attempt != record.attempt or record.ended or _is_anothers(record, event):
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
        reason=sentence(event.reason) if event.reason is not None else record.reason,
        data={**record.data, **event.data},
    )
    return Transition(after, unchanged=after == record)


def _cancel_asked(record: TaskRecord, event: CancelAsked) -> Transition:
    stale = event.attempt is not None and event.attempt != record.attempt
    # One that is lost by silence may still run: its worker finds the wish when it comes back.
    may_run = record.provisional or record.claim is not None
    if stale or (record.ended and not may_run):
        return _same(record)
    wish = record.cancel or _wish(event)
    if may_run:
        worker = record.claim.worker if record.claim else record.worker
        nudge = () if worker is None else (Nudge(record.key, worker),)
        return Transition(_with(record, cancel=wish), nudge, unchanged=record.cancel is not None)
    why = f"cancelled by {event.by} before it started" + (f": {event.reason}" if event.reason else "")
    ended = close(_with(record, cancel=wish), Outcome.CANCELLED, event.at, why)
    return Transition(ended, (Dequeue(record.key), Finish(record.key, Outcome.CANCELLED)))


def _ended(record: TaskRecord, event: Ended) -> Transition:
    if event.attempt != record.attempt:
        # A report on an earlier attempt corrects that attempt's line in the history and nothing else.
        history = (event.attempt, event.outcome, event.at, event.reason, event.data)
        known = corrected_history(record, *history)
        return Transition(known, unchanged=known is record)
    if (record.ended and not record.provisional) or _is_anothers(record, event):
        return _same(record)
    if not record.ended and record.claim is None:
        raise _illegal(record, event, "nobody has claimed it")
    record = _with(
        record,
        data={**record.data, **event.data},
        started=event.started or record.started,
        provisional=False,
        corrected=record.corrected or record.provisional,
    )
    if _retries(record, event.outcome):
        return _next_attempt(record, event)
    closed = close(record, event.outcome, event.at, event.reason)
    return Transition(closed, (Finish(record.key, event.outcome, record.corrected),))


def _gathered(record: TaskRecord, event: Gathered) -> Transition:
    if record.ended or record.array is None:
        return _same(record)
    seen = event.progress
    # Another one who leads may have got further than whoever says this.
    made = max(seen.made, record.array.made)
    counted = _with(record, array=seen.model_copy(update={"made": made}))
    if event.outcome is None:
        return Transition(counted, unchanged=counted == record)
    closed = close(counted, event.outcome, event.at, event.reason)
    return Transition(closed, (Finish(record.key, event.outcome),))


def _retries(record: TaskRecord, outcome: Outcome) -> bool:
    wanted = outcome in record.retry.on and record.retries < record.retry.limit
    return wanted and record.cancel is None


def _next_attempt(record: TaskRecord, event: Ended) -> Transition:
    delay = min(record.retry.delay * record.retry.backoff**record.retries, LONGEST_DELAY)
    not_before = event.at + timedelta(seconds=delay)
    closed = close(record, event.outcome, event.at, event.reason)
    fresh = begin_next(
        closed,
        event.outcome,
        retries=record.retries + 1,
        not_before=not_before,
        corrected=record.corrected,
    )
    return Transition(fresh, (Retry(record.key, not_before),))


def _vanished(record: TaskRecord, event: Vanished) -> Transition:
    held = record.claim is not None and record.claim.worker == event.worker
    if event.attempt != record.attempt or record.ended or not held:
        return _same(record)
    lost = _with(close(record, Outcome.LOST, event.at, event.reason), provisional=True)
    return Transition(lost, (Finish(record.key, Outcome.LOST, record.corrected),))


def _returned(record: TaskRecord, event: Returned) -> Transition:
    given_up = record.provisional and record.worker == event.worker
    forgotten = not record.ended and record.claim is None
    if event.attempt != record.attempt or not (given_up or forgotten):
        return _same(record)
    running = event.started if event.started or event.status is not Status.RUNNING else event.at
    again = _with(
        record,
        status=event.status,
        outcome=None,
        finished=None,
        reason=None,
        provisional=False,
        corrected=record.corrected or given_up,
        claim=_claim(event, *event.earlier),
        worker=event.worker,
        released=record.released or event.at,
        not_before=None,
        waiting_for=None,
        started=record.started or running,
        data={**record.data, **event.data},
    )
    return Transition(again)


def _rerun(record: TaskRecord, event: Rerun) -> Transition:
    if event.attempt is not None and event.attempt != record.attempt:
        return _same(record)
    if record.outcome is None:
        raise _illegal(record, event, "it has not ended; cancel it first")
    if record.provisional and not event.force:
        raise _illegal(
            record, event, "it may still be running where nobody sees it; --force starts it all the same"
        )
    begun = begin_next(record, record.outcome, retries=0, not_before=None, corrected=False)
    if event.waits is not None or not event.at_once:
        return Transition(_with(begun, waiting_for=event.waits))
    fresh = _with(begun, released=event.at)
    return Transition(fresh, (Enqueue(record.key, fresh.attempt),))


def _wish(event: CancelAsked) -> CancelRequest:
    return CancelRequest(by=event.by, at=event.at, reason=sentence(event.reason))
