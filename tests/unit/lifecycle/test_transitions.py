"""The transitions of a task, one behaviour each; the whole list of effects is asserted, nothing may be left over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qme.contracts.arrays import parse
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import (
    CancelRequest,
    Claim,
    Holder,
    Outcome,
    RetryPolicy,
    Status,
    TaskRecord,
    TaskSpec,
)
from qme.errors import IllegalTransition
from qme.lifecycle import (
    KEPT_ATTEMPTS,
    CancelAsked,
    Claimed,
    Dequeue,
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
    Vanished,
    advance,
    new_record,
    violations,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
KEY = TaskKey("shell", "u-ann", "0199aaaa-0000-7000-8000-000000000001")


def at(seconds: float) -> datetime:
    """A moment after the task was created."""
    return T0 + timedelta(seconds=seconds)


def record(retries: int = 0) -> TaskRecord:
    """A task just accepted."""
    spec = TaskSpec(
        uuid=KEY.uuid, user="ann", argv=("true",), retry=RetryPolicy(limit=retries, delay=10, backoff=2)
    )
    return new_record(spec, KEY, T0)


def apply(start: TaskRecord, *events: object) -> TaskRecord:
    """Apply events one after another; the rules hold after each."""
    for event in events:
        start = advance(start, event).record  # type: ignore[arg-type]
        assert violations(start) == []
    return start


RELEASED = Released(at(0))
CLAIMED = Claimed("w1", "n1", 1, at(1))
STARTED = Started(1, at(1))
RUNNING = (RELEASED, CLAIMED, STARTED)


def ended(outcome: Outcome = Outcome.SUCCESS, attempt: int = 1, **data: object) -> Ended:
    """The report of an attempt's end."""
    return Ended(attempt, outcome, at(5), data=data)


def test_release_makes_the_queue_message_due() -> None:
    """Releasing is what puts a task into the queue, once."""
    step = advance(record(), RELEASED)
    assert step.record.due
    assert step.effects == (Enqueue(KEY, 1),)
    assert advance(step.record, RELEASED).unchanged


def test_claim_takes_the_message_away() -> None:
    """A claimed task is no longer due, so nobody publishes its message again."""
    step = advance(apply(record(), RELEASED), CLAIMED)
    assert not step.record.due
    assert step.effects == ()
    assert step.record.worker == "w1"


def test_own_claim_read_back_is_no_conflict() -> None:
    """A worker whose claim was stored although the answer was lost finds its own nonce."""
    claimed = apply(record(), RELEASED, CLAIMED)
    assert advance(claimed, CLAIMED).unchanged


@pytest.mark.parametrize(
    ("events", "claim"),
    [
        ((), CLAIMED),  # not released
        ((RELEASED, CLAIMED), Claimed("w2", "n2", 1, at(2))),  # somebody else's
        ((RELEASED,), Claimed("w1", "n1", 2, at(2))),  # an attempt that is not there yet
        ((*RUNNING, ended()), Claimed("w1", "n1", 1, at(9))),  # ended
        ((RELEASED, CancelAsked("ann", at(1))), Claimed("w1", "n1", 1, at(9))),  # cancelled
    ],
)
def test_what_may_not_be_claimed(events: tuple[object, ...], claim: Claimed) -> None:
    """Only a released, unclaimed, current attempt may be claimed; the error tells the task's story."""
    before = apply(record(), *events)
    with pytest.raises(IllegalTransition, match=before.uid):
        advance(before, claim)


def test_cancel_before_the_claim_ends_the_task_there() -> None:
    """Nobody runs it, so nobody needs to be asked."""
    step = advance(apply(record(), RELEASED), CancelAsked("ann", at(1), reason="typo"))
    assert step.record.status is Status.CANCELLED
    assert step.record.reason == "cancelled by ann before it started: typo"
    assert step.effects == (Dequeue(KEY), Finish(KEY, Outcome.CANCELLED))


def test_cancel_after_the_claim_is_a_wish() -> None:
    """The worker decides what became of it: until then the task runs."""
    step = advance(apply(record(), *RUNNING), CancelAsked("ann", at(2)))
    assert step.record.status is Status.RUNNING
    assert step.record.cancel is not None
    assert step.effects == (Nudge(KEY, "w1"),)
    again = advance(step.record, CancelAsked("bob", at(3)))
    assert again.unchanged
    assert again.effects == (Nudge(KEY, "w1"),)


def test_a_wish_does_not_change_the_outcome_by_itself() -> None:
    """A command that ended before the wish reached it keeps its real outcome."""
    done = apply(record(), *RUNNING, CancelAsked("ann", at(2)), ended(Outcome.SUCCESS, returncode=0))
    assert done.outcome is Outcome.SUCCESS
    assert done.status is Status.COMPLETE


def test_cancel_of_another_attempt_changes_nothing() -> None:
    """A request repeated after a rerun must not end the new attempt."""
    second = apply(record(), *RUNNING, ended(), Rerun("ann", at(6)))
    assert advance(second, CancelAsked("ann", at(7), attempt=1)).unchanged


def test_the_end_and_the_retry_are_one_transition() -> None:
    """`complete` is written once, for the last attempt: nobody who waits sees a false ending."""
    step = advance(apply(record(retries=1), *RUNNING), ended(Outcome.FAILED, returncode=3))
    assert step.record.status is Status.QUEUED
    assert step.record.outcome is None
    assert step.record.attempt == 2
    assert not step.record.due
    assert step.effects == (Retry(KEY, at(15)),)
    assert [(a.attempt, a.outcome, a.returncode) for a in step.record.attempts] == [(1, Outcome.FAILED, 3)]
    last = apply(step.record, Released(at(20)), Claimed("w1", "n2", 2, at(21)), Started(2, at(21)))
    step = advance(last, Ended(2, Outcome.FAILED, at(22)))
    assert step.record.outcome is Outcome.FAILED
    assert step.effects == (Finish(KEY, Outcome.FAILED),)


def test_the_delay_grows_from_retry_to_retry() -> None:
    """Back-off counts the retries, not the attempts (a rerun starts it anew)."""
    second = apply(record(retries=3), *RUNNING, ended(Outcome.FAILED))
    third = apply(
        second,
        Released(at(20)),
        Claimed("w1", "n2", 2, at(21)),
        Started(2, at(21)),
        Ended(2, Outcome.FAILED, at(30)),
    )
    assert second.not_before == at(15)
    assert third.not_before == at(50)


def test_no_retry_of_what_somebody_cancelled() -> None:
    """A wish to cancel ends the retries too."""
    done = apply(record(retries=5), *RUNNING, CancelAsked("ann", at(2)), ended(Outcome.FAILED))
    assert done.outcome is Outcome.FAILED


def test_success_is_not_retried() -> None:
    """Only the outcomes named by the policy are."""
    assert apply(record(retries=5), *RUNNING, ended()).outcome is Outcome.SUCCESS


def test_a_repeated_report_changes_nothing() -> None:
    """The final write may be repeated after a lost answer."""
    done = apply(record(), *RUNNING, ended())
    assert advance(done, ended()).unchanged
    assert advance(done, ended(Outcome.FAILED)).unchanged


def test_a_late_report_reaches_only_its_attempt() -> None:
    """Attempt 1 coming back from the dead corrects its line in the history, not attempt 2."""
    lost = apply(record(), *RUNNING, Vanished(1, "w1", at(100), "silent"))
    second = apply(lost, Rerun("ann", at(101), force=True))
    step = advance(second, ended(Outcome.SUCCESS, returncode=0))
    assert step.record.attempts[0].outcome is Outcome.SUCCESS
    assert step.record.outcome is None
    assert step.effects == ()


def test_lost_by_silence_is_provisional_and_can_be_corrected() -> None:
    """A worker that comes back knows better; that counts as a correction, not as a second ending."""
    lost = apply(record(), *RUNNING, Vanished(1, "w1", at(100), "no heartbeat"))
    assert lost.provisional
    assert lost.status is Status.LOST
    with pytest.raises(IllegalTransition, match="--force"):
        advance(lost, Rerun("ann", at(101)))
    step = advance(lost, ended(Outcome.SUCCESS))
    assert step.record.outcome is Outcome.SUCCESS
    assert not step.record.provisional
    assert step.effects == (Finish(KEY, Outcome.SUCCESS, corrected=True),)


TAKEN = TakenOver(Claimed("w2", "n2", 1, at(60), "h2", "b2"), "n1")


def test_a_silent_workers_attempt_goes_on_with_another() -> None:
    """The claim changes hands and remembers who had it; how the attempt stands, and a wish to end it, stay."""
    before = apply(
        record(), RELEASED, Claimed("w1", "n1", 1, at(1), "h1", "b1"), STARTED, CancelAsked("ann", at(2))
    )
    step = advance(before, TAKEN)
    assert step.effects == ()
    taken = step.record
    assert taken.claim == Claim(
        worker="w2",
        nonce="n2",
        at=at(60),
        host="h2",
        boot="b2",
        earlier=(Holder(worker="w1", host="h1", boot="b1"),),
    )
    assert taken == before.model_copy(update={"claim": taken.claim, "worker": "w2"})
    assert advance(taken, TAKEN).unchanged
    again = apply(taken, TakenOver(Claimed("w3", "n3", 1, at(90)), "n2"))
    assert [holder.worker for holder in again.claim.earlier] == ["w1", "w2"] if again.claim else False


def test_a_worker_that_lost_its_attempt_reports_to_nobody() -> None:
    """It comes back and knows no better: what it says changes nothing; the one that has it ends it."""
    taken = apply(record(), *RUNNING, TAKEN)
    late: list[Event] = [Progressed(1, {"x": 1}, worker="w1"), Ended(1, Outcome.LOST, at(70), worker="w1")]
    assert [advance(taken, event).unchanged for event in late] == [True, True]
    assert apply(taken, Progressed(1, {"x": 1}, worker="w2")).data == {"x": 1}
    assert apply(taken, Ended(1, Outcome.SUCCESS, at(71), worker="w2")).outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    "events",
    [(RELEASED,), (*RUNNING, Ended(1, Outcome.SUCCESS, at(5))), (RELEASED, Claimed("w1", "n9", 1, at(1)))],
    ids=["nobody's", "ended", "claimed anew"],
)
def test_only_the_claim_that_was_seen_is_taken_over(events: tuple[Event, ...]) -> None:
    """Of several that try, one succeeds; and nobody takes what has gone on meanwhile."""
    with pytest.raises(IllegalTransition, match="does not stand any more"):
        advance(apply(record(), *events), TAKEN)


def test_silence_alone_does_not_retry() -> None:
    """A retry beside an original that still runs would run it twice; it waits for the proof."""
    lost = apply(record(retries=1), *RUNNING, Vanished(1, "w1", at(100), "no heartbeat"))
    assert lost.attempt == 1
    assert lost.ended
    assert apply(lost, Ended(1, Outcome.LOST, at(200))).attempt == 2


def test_a_retry_after_the_proof_is_no_second_ending() -> None:
    """The provisional `lost` was told and counted; what the next attempt comes to replaces it."""
    lost = apply(record(retries=1), *RUNNING, Vanished(1, "w1", at(100), "no heartbeat"))
    second = apply(lost, Ended(1, Outcome.LOST, at(200)), Released(at(300)), Claimed("w2", "n2", 2, at(301)))
    step = advance(second, ended(attempt=2))
    assert step.effects == (Finish(KEY, Outcome.SUCCESS, corrected=True),)


def test_the_worker_is_back_with_what_was_lost() -> None:
    """It runs again, under the same attempt; its end is then a correction, not a second ending."""
    lost = apply(record(), *RUNNING, Vanished(1, "w1", at(100), "no heartbeat"))
    back = Returned("w1", "n9", 1, at(200), data={"pid": 7})
    step = advance(lost, back)
    assert violations(step.record) == []
    assert step.effects == ()
    assert (step.record.status, step.record.outcome, step.record.provisional) == (Status.RUNNING, None, False)
    assert (step.record.finished, step.record.reason, step.record.started) == (None, None, at(1))
    assert step.record.claim is not None
    assert (step.record.claim.worker, step.record.claim.nonce, step.record.data) == ("w1", "n9", {"pid": 7})
    assert advance(step.record, back).unchanged
    assert advance(step.record, ended()).effects == (Finish(KEY, Outcome.SUCCESS, corrected=True),)


def test_lost_twice_is_counted_once() -> None:
    """A worker that comes and goes."""
    back = Returned("w1", "n9", 1, at(200))
    again = apply(record(), *RUNNING, Vanished(1, "w1", at(100), "x"), back)
    step = advance(again, Vanished(1, "w1", at(300), "x"))
    assert step.effects == (Finish(KEY, Outcome.LOST, corrected=True),)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            (*RUNNING, Vanished(1, "w1", at(9), "x"), Ended(1, Outcome.LOST, at(10))), id="proved lost"
        ),
        pytest.param((*RUNNING, ended()), id="ended"),
        pytest.param((RELEASED, CancelAsked("ann", at(1))), id="cancelled unclaimed"),
        pytest.param((RELEASED, Claimed("w2", "n2", 1, at(1))), id="another one's"),
        pytest.param(
            (*RUNNING, Vanished(1, "w1", at(9), "x"), Rerun("ann", at(10), force=True)),
            id="at another attempt",
        ),
    ],
)
def test_what_a_worker_can_not_come_back_to(events: tuple[object, ...]) -> None:
    """A final end, another worker's claim and another attempt stay as they are."""
    assert advance(apply(record(), *events), Returned("w1", "n9", 1, at(20))).unchanged


def test_another_worker_knows_nothing_of_what_was_lost() -> None:
    """Only the one that had the attempt can say that it was not lost."""
    lost = apply(record(), *RUNNING, Vanished(1, "w1", at(100), "x"))
    assert advance(lost, Returned("w2", "n9", 1, at(200))).unchanged


@pytest.mark.parametrize("cancel", [None, CancelRequest(by="ann", at=T0)])
def test_a_claim_that_the_bus_forgot_is_made_again(cancel: CancelRequest | None) -> None:
    """A bus that was rolled back shows the attempt as waiting; its worker has it, and a wish to cancel is not lost."""
    forgotten = apply(record(), RELEASED).model_copy(update={"cancel": cancel})
    step = advance(forgotten, Returned("w1", "n9", 1, at(20), Status.RUNNING, at(1), {"pid": 7}))
    assert violations(step.record) == []
    assert step.record.claim is not None
    assert (step.record.claim.worker, step.record.started, step.record.cancel) == ("w1", at(1), cancel)
    assert not step.record.corrected


def test_the_silence_of_another_worker_says_nothing() -> None:
    """The verdict is about the worker that has the claim."""
    assert advance(apply(record(), *RUNNING), Vanished(1, "w0", at(9), "x")).unchanged


def test_a_wish_to_cancel_what_may_be_lost_is_kept() -> None:
    """It may still run; its worker finds the wish when it comes back, and no retry follows."""
    lost = apply(record(retries=1), *RUNNING, Vanished(1, "w1", at(100), "x"))
    step = advance(lost, CancelAsked("ann", at(101)))
    assert (step.record.status, step.effects) == (Status.LOST, (Nudge(KEY, "w1"),))
    assert step.record.cancel is not None
    back = apply(step.record, Returned("w1", "n9", 1, at(200)))
    assert back.cancel == step.record.cancel
    assert apply(step.record, Ended(1, Outcome.LOST, at(200))).attempt == 1


def test_a_task_nobody_claimed_does_not_vanish() -> None:
    """It waits visibly in the queue instead."""
    assert advance(apply(record(), RELEASED), Vanished(1, "w1", at(9), "x")).unchanged


def test_rerun_keeps_the_id_and_the_past() -> None:
    """Another attempt under the same id, released at once."""
    step = advance(apply(record(), *RUNNING, ended(Outcome.FAILED, returncode=1)), Rerun("ann", at(6)))
    assert step.effects == (Enqueue(KEY, 2),)
    assert step.record.due
    assert step.record.data == {}
    assert step.record.attempts[0].worker == "w1"


def test_rerun_is_safe_to_repeat() -> None:
    """The request names the attempt it saw; at another one nothing happens."""
    second = apply(record(), *RUNNING, ended(), Rerun("ann", at(6), attempt=1))
    assert advance(second, Rerun("ann", at(7), attempt=1)).unchanged


def test_rerun_of_a_running_task_is_refused() -> None:
    """It would run twice at once."""
    with pytest.raises(IllegalTransition, match="cancel it first"):
        advance(apply(record(), *RUNNING), Rerun("ann", at(6)))


def test_a_scheduler_decides_the_status() -> None:
    """A claimed Slurm job is queued until Slurm starts it, and may go back (requeue)."""
    job = apply(record(), RELEASED, CLAIMED, Started(1, at(1), Status.QUEUED, {"jobid": 7}))
    assert job.status is Status.QUEUED
    assert job.started is None
    job = apply(job, Progressed(1, {"state": "RUNNING"}, Status.RUNNING, started=at(3)))
    assert job.status is Status.RUNNING
    assert job.started == at(3)
    assert job.data == {"jobid": 7, "state": "RUNNING"}
    assert apply(job, Progressed(1, {"state": "REQUEUED"}, Status.QUEUED)).status is Status.QUEUED
    assert advance(job, Progressed(1, {"state": "RUNNING"}, Status.RUNNING)).unchanged


def test_progress_after_the_end_changes_nothing() -> None:
    """A write that was on its way when the task ended."""
    done = apply(record(), *RUNNING, ended())
    assert advance(done, Progressed(1, {"pid": 1})).unchanged


def test_history_is_kept_short() -> None:
    """120 attempts must not make a record that no longer fits a message."""
    task = record()
    for number in range(1, KEPT_ATTEMPTS + 10):
        events: list[Event] = [Released(at(number))] if number == 1 else []
        events += [Claimed("w", f"n{number}", number, at(number)), Started(number, at(number))]
        task = apply(task, *events, Ended(number, Outcome.FAILED, at(number), reason="x" * 500))
        task = apply(task, Rerun("ann", at(number)))
    assert len(task.attempts) == KEPT_ATTEMPTS
    assert task.attempts[-1].attempt == task.attempt - 1
    assert all(len(line.model_dump_json()) <= 300 for line in task.attempts)


def test_a_reason_is_a_sentence() -> None:
    """However long the text, the record still fits a message, with its data."""
    endless = "x" * 600_000
    wish = CancelAsked("ann", at(2), reason=endless)
    done = apply(record(), *RUNNING, wish, Ended(1, Outcome.CANCELLED, at(3), reason=endless))
    early = apply(record(), RELEASED, wish)
    told = apply(record(), *RUNNING, Progressed(1, {}, reason=endless))
    assert all(len(one.model_dump_json()) < 8_000 for one in (done, early, told))


def test_unknown_keys_survive_every_event() -> None:
    """A newer program's field must not be dropped by an older one's read-modify-write."""
    text = record().model_dump_json()
    newer = TaskRecord.model_validate_json(text.replace('"schema":1', '"schema":2,"colour":{"of":"paint"}'))
    done = apply(newer, *RUNNING, CancelAsked("ann", at(2)), ended(), Rerun("ann", at(7)))
    assert '"colour":{"of":"paint"}' in done.model_dump_json()
    assert '"schema":2' in done.model_dump_json()


def test_a_retry_is_not_released_before_its_time() -> None:
    """Also by a submitter whose clock was set back since it judged: nothing changes, and it may ask again."""
    spec = TaskSpec(uuid=KEY.uuid, user="ann", argv=("true",), retry=RetryPolicy(limit=1, delay=10.0))
    record = advance(new_record(spec, KEY, T0), Released(T0)).record
    for event in (Claimed("w", "n", 1, at(1)), Ended(1, Outcome.FAILED, at(2))):
        record = advance(record, event).record
    assert record.not_before == at(12)
    assert advance(record, Released(at(11), 2)).unchanged
    assert advance(record, Released(at(12), 2)).record.due


def test_an_array_is_never_said_to_be_less_made_than_it_was() -> None:
    """By a leader that stood still: or its tasks would be made once more from there."""
    spec = TaskSpec(uuid=KEY.uuid, user="ann", argv=("true",), array=parse("1-200"))
    record = new_record(spec, KEY, T0)
    assert record.array is not None
    ahead = advance(record, Gathered(None, at(1), record.array.model_copy(update={"made": 128}))).record
    behind = advance(ahead, Gathered(None, at(2), record.array.model_copy(update={"made": 64}))).record
    assert behind.array is not None
    assert behind.array.made == 128
