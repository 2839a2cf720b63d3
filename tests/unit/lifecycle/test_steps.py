"""Which steps a change of a record takes: what the exporter counts."""

from datetime import UTC, datetime, timedelta

import pytest

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, RetryPolicy, TaskRecord, TaskSpec
from qme.lifecycle import (
    CancelAsked,
    Claimed,
    Ended,
    Event,
    Progressed,
    Released,
    Rerun,
    Returned,
    Started,
    Vanished,
    advance,
    new_record,
    step_headers,
)

KEY = TaskKey("shell", "u-ann", "0199aaaa-0000-7000-8000-000000000001")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after the submission."""
    return NOW + timedelta(seconds=seconds)


def ended(ran: str) -> dict[str, str]:
    """What the write of an end tells."""
    return {"Qme-Steps": "ended", "Qme-Ran": ran}


def told(*events: Event, retries: int = 0) -> list[dict[str, str]]:
    """What is told of each write of a task's life, one per event after its submission."""
    spec = TaskSpec(uuid=KEY.uuid, user="ann", argv=("true",), retry=RetryPolicy(limit=retries, delay=0))
    record: TaskRecord = new_record(spec, KEY, NOW)
    said = [step_headers(None, record)]
    for event in events:
        after = advance(record, event).record
        said.append(step_headers(record, after))
        record = after
    return said


NONE = {"Qme-Steps": "none"}
SUBMITTED = {"Qme-Steps": "submitted"}
STARTED = {"Qme-Steps": "started", "Qme-Waited": "3.000"}
LOST = Vanished(1, "w1", at(8), "silent")
RUN = (Released(at(2)), Claimed("w1", "n1", 1, at(4)), Started(1, at(5)))


@pytest.mark.parametrize(
    ("events", "steps"),
    [
        (
            (*RUN, Progressed(1, {"pid": 7}), Ended(1, Outcome.FAILED, at(9))),
            [NONE, NONE, STARTED, NONE, ended("4.000")],
        ),
        (
            (Released(at(2)), CancelAsked("ann", at(3))),
            [NONE, {"Qme-Steps": "ended"}],
        ),
        (
            (*RUN, Ended(1, Outcome.SUCCESS, at(6)), Rerun("ann", at(7), 1)),
            [NONE, NONE, STARTED, ended("1.000"), {"Qme-Steps": "rerun"}],
        ),
        (
            (*RUN, LOST, Returned("w1", "n2", 1, at(9)), Ended(1, Outcome.SUCCESS, at(10))),
            [NONE, NONE, STARTED, ended("3.000"), NONE, ended("5.000")],
        ),
        (
            (*RUN, LOST, Ended(1, Outcome.SUCCESS, at(10))),
            [NONE, NONE, STARTED, ended("3.000"), ended("5.000")],
        ),
        (
            (*RUN, Ended(1, Outcome.SUCCESS, at(4))),  # another machine's clock is behind
            [NONE, NONE, STARTED, ended("0.000")],
        ),
    ],
    ids=["ran", "cancelled", "rerun", "returned", "corrected", "clocks"],
)  # fmt: skip
def test_each_step_is_told_by_one_write(events: tuple[Event, ...], steps: list[dict[str, str]]) -> None:
    """With how long it waited and ran; writes that take no step tell none."""
    assert told(*events) == [SUBMITTED, *steps]


def test_a_retry_is_no_end() -> None:
    """The attempt that failed ends no task: one end is told, of the last one."""
    said = told(*RUN, Ended(1, Outcome.FAILED, at(6)), Released(at(7)), retries=1)
    assert [one["Qme-Steps"] for one in said[-2:]] == ["retried", "none"]
