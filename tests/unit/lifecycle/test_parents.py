"""Whether a parent's end is the one that was waited for: one row per wish and end, and all parents together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import On, Outcome, Parent, RetryPolicy, TaskRecord, TaskSpec, event_headers
from qme.lifecycle import (
    Claimed,
    Ended,
    Finish,
    Met,
    Never,
    Released,
    Rerun,
    Returned,
    Standing,
    Unmet,
    Verdict,
    Waits,
    advance,
    edge,
    judge,
    new_record,
    violations,
    waiting_for,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTLE = 60.0
P = "0199aaaa-0000-7000-8000-00000000000a"
KEY = TaskKey("shell", "u-ann", "0199aaaa-0000-7000-8000-000000000001")
SOON, PAST = NOW - timedelta(seconds=59), NOW - timedelta(seconds=60)


@pytest.mark.parametrize(
    ("standing", "success", "any_", "fail"),
    [
        (Standing(), Waits(), Waits(), Waits()),
        (Standing(Outcome.SUCCESS), Met(), Met(), Never(P, "ended as success")),
        (Standing(Outcome.FAILED), Never(P, "ended as failed"), Met(), Met()),
        (Standing(Outcome.CANCELLED), Never(P, "ended as cancelled"), Met(), Met()),
        (Standing(Outcome.LOST), Never(P, "ended as lost"), Met(), Met()),
        (
            Standing(Outcome.LOST, provisional=True, since=SOON),
            Waits(NOW + timedelta(seconds=1)),
            Met(),
            Waits(NOW + timedelta(seconds=1)),
        ),
        (
            Standing(Outcome.LOST, provisional=True, since=PAST),
            Never(P, "ended as lost"),
            Met(),
            Met(),
        ),
        (Standing(gone=True), Never(P, "was cleared"), Met(), Never(P, "was cleared")),
    ],
    ids=["not ended", "success", "failed", "cancelled", "lost", "silent", "silent for long", "cleared"],
)
def test_each_end_by_each_wish(standing: Standing, success: Verdict, any_: Verdict, fail: Verdict) -> None:
    """The whole table."""
    wanted = {On.SUCCESS: success, On.ANY: any_, On.FAIL: fail}
    assert {on: edge(Parent(uuid=P, on=on), standing, NOW, SETTLE) for on in On} == wanted


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(On)),
            st.builds(
                Standing,
                st.none() | st.sampled_from(list(Outcome)),
                st.booleans(),
                st.sampled_from([SOON, PAST]),
            ),
        ),
        max_size=6,
    )
)
def test_all_parents_together(those: list[tuple[On, Standing]]) -> None:
    """Met when each is, never when one never is, and else waiting until the first that time alone may settle."""
    parents = [Parent(uuid=str(n), on=on) for n, (on, _) in enumerate(those)]
    each = [edge(parent, standing, NOW, SETTLE) for parent, (_, standing) in zip(parents, those, strict=True)]
    verdict = judge(parents, lambda uuid: those[int(uuid)][1], NOW, SETTLE)
    if any(isinstance(one, Never) for one in each):
        assert verdict in each
        assert isinstance(verdict, Never)
    elif all(isinstance(one, Met) for one in each):
        assert verdict == Met()
    else:
        times = [one.until for one in each if isinstance(one, Waits) and one.until is not None]
        assert verdict == Waits(min(times, default=None))


def child(**changed: object) -> TaskRecord:
    """A task that waits for one other."""
    spec = TaskSpec(uuid=KEY.uuid, user="ann", argv=("true",), after=(Parent(uuid=P),))
    return new_record(spec, KEY, NOW).model_copy(update=changed)


def test_a_task_with_parents_begins_unreleased() -> None:
    """Its record says for whom it waits, and so do the headers of its writes."""
    record = child()
    assert (record.waits, record.due, record.waiting_for) == (True, False, waiting_for((Parent(uuid=P),)))
    assert event_headers(record, "ann")["Qme-Waits"] == "parents"
    released = advance(record, Released(NOW, 1)).record
    assert (released.due, released.waiting_for) == (True, None)
    assert "Qme-Waits" not in event_headers(released, "ann")


def test_a_parent_that_ended_otherwise_ends_it() -> None:
    """Cancelled, with the reason, and for whom; once."""
    event = Unmet(1, P, NOW, "because")
    step = advance(child(), event)
    assert violations(step.record) == []
    assert (step.record.outcome, step.record.reason, step.record.unmet) == (Outcome.CANCELLED, "because", P)
    assert step.effects == (Finish(KEY, Outcome.CANCELLED),)
    assert advance(step.record, event).unchanged


@pytest.mark.parametrize("event", [Released(NOW, 1), Unmet(1, P, NOW, "x")], ids=["release", "end"])
def test_what_was_judged_of_an_earlier_attempt_is_past(event: Released | Unmet) -> None:
    """A leader that stood still for a while neither releases nor ends what has been rerun since."""
    ended = advance(child(), Unmet(1, P, NOW, "x")).record
    again = advance(ended, Rerun("ann", NOW, waits=waiting_for((Parent(uuid=P),)))).record
    assert (again.attempt, again.waits, again.unmet) == (2, True, None)
    assert advance(again, event).unchanged


def test_what_runs_is_not_ended_for_its_parents() -> None:
    """Nor what is released, nor what waits for its retry: parents are judged once, before the start."""
    spec = TaskSpec(
        uuid=KEY.uuid, user="ann", argv=("true",), after=(Parent(uuid=P),), retry=RetryPolicy(limit=1)
    )
    record = advance(new_record(spec, KEY, NOW), Released(NOW)).record
    claimed = advance(record, Claimed("w", "n", 1, NOW)).record
    retrying = advance(claimed, Ended(1, Outcome.FAILED, NOW)).record
    assert retrying.waits
    for one in (record, claimed, retrying):
        assert advance(one, Unmet(one.attempt, P, NOW, "x")).unchanged


def test_a_worker_that_holds_it_knows_better_than_a_bus_set_back() -> None:
    """The store shows it as waiting again; what runs is not started twice."""
    back = advance(child(), Returned("w", "n", 1, NOW)).record
    assert violations(back) == []
    assert (back.waiting_for, back.claim is not None) == (None, True)
