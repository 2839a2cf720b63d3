"""Random events in random orders: no illegal state, no attempt started twice, no ending counted twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Parent, RetryPolicy, Status, TaskSpec
from qme.errors import IllegalTransition
from qme.lifecycle import (
    CancelAsked,
    Claimed,
    Ended,
    Enqueue,
    Event,
    Finish,
    Progressed,
    Released,
    Rerun,
    Returned,
    Started,
    TakenOver,
    Unmet,
    Vanished,
    advance,
    new_record,
    violations,
    waiting_for,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PARENT = Parent(uuid="0199aaaa-0000-7000-8000-0000000000ff")
KEY = TaskKey("shell", "u-ann", "0199aaaa-0000-7000-8000-000000000001")

moments = st.integers(0, 10_000).map(lambda s: T0 + timedelta(seconds=s))
attempts = st.integers(1, 4)
workers = st.sampled_from(["w1", "w2"])
outcomes = st.sampled_from(list(Outcome))
statuses = st.sampled_from([Status.QUEUED, Status.RUNNING])

events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Released, moments, st.none() | attempts),
    st.builds(Unmet, attempts, st.just(PARENT.uuid), moments, st.just("unmet")),
    st.builds(Claimed, workers, st.sampled_from(["a", "b", "c"]), attempts, moments),
    st.builds(Started, attempts, moments, statuses),
    st.builds(
        Progressed, attempts, st.just({"pid": 1}), st.none() | statuses, st.none(), st.none() | moments
    ),
    st.builds(CancelAsked, st.just("ann"), moments, st.none() | attempts),
    st.builds(Ended, attempts, outcomes, moments, st.just({"returncode": 1})),
    st.builds(Vanished, attempts, workers, moments, st.just("silent")),
    st.builds(
        Returned, workers, st.sampled_from(["d", "e"]), attempts, moments, statuses, st.none() | moments
    ),
    st.builds(
        TakenOver,
        st.builds(Claimed, workers, st.sampled_from(["f", "g"]), attempts, moments),
        st.sampled_from(["a", "b", "f"]),
    ),
    st.builds(
        Rerun,
        st.just("ann"),
        moments,
        st.none() | attempts,
        st.booleans(),
        st.sampled_from([None, waiting_for((PARENT,))]),
    ),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(events, max_size=40), st.integers(0, 3), st.sampled_from([(), (PARENT,)]))
def test_no_order_of_events_makes_an_illegal_state(
    sequence: list[Event], retries: int, after: tuple[Parent, ...]
) -> None:
    """Whatever arrives, in whatever order, the record keeps its rules, and refusals leave it as it was."""
    spec = TaskSpec(uuid=KEY.uuid, user="ann", argv=("true",), retry=RetryPolicy(limit=retries), after=after)
    record = new_record(spec, KEY, T0)
    holders: dict[int, str] = {}
    enqueued: list[int] = []
    finals: dict[int, int] = {}
    for event in sequence:
        before = record.model_dump_json()
        try:
            step = advance(record, event)
        except IllegalTransition:
            assert record.model_dump_json() == before
            continue
        assert violations(step.record) == []
        assert step.record.attempt >= record.attempt
        assert not step.unchanged or step.record == record
        record = step.record
        if record.claim is not None and isinstance(event, TakenOver):
            holders[record.attempt] = record.claim.worker
        if record.claim is not None:
            assert holders.setdefault(record.attempt, record.claim.worker) == record.claim.worker
        enqueued += [effect.attempt for effect in step.effects if isinstance(effect, Enqueue)]
        for effect in step.effects:
            if isinstance(effect, Finish) and not effect.corrected:
                finals[record.attempt] = finals.get(record.attempt, 0) + 1
    assert len(enqueued) == len(set(enqueued)), "an attempt was put into the queue twice"
    assert all(count == 1 for count in finals.values()), "an ending was counted twice"


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=30))
def test_every_event_may_be_repeated(sequence: list[Event]) -> None:
    """A write whose answer was lost is applied again to what it wrote; nothing happens the second time."""
    spec = TaskSpec(uuid=KEY.uuid, user="ann", argv=("true",), retry=RetryPolicy(limit=1))
    record = new_record(spec, KEY, T0)
    for event in sequence:
        try:
            step = advance(record, event)
        except IllegalTransition:
            continue
        if not (isinstance(event, Rerun) and event.attempt is None):
            assert advance(step.record, event).record == step.record
        record = step.record
