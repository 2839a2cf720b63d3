"""The table of exit codes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from qme.cli.exitcodes import of_many, of_one
from qme.cli.run import explain
from qme.contracts.tasks import On, Outcome, Parent, Status, TaskRecord, WaitingFor

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(outcome: Outcome, **data: Any) -> TaskRecord:
    """A task that ended in some way."""
    status = {Outcome.CANCELLED: Status.CANCELLED, Outcome.LOST: Status.LOST}.get(outcome, Status.COMPLETE)
    return TaskRecord(
        uid="shell-01990000-0000-7000-8000-000000000000",
        executor="shell",
        pool="p",
        command="x",
        user="ann",
        created=NOW,
        status=status,
        outcome=outcome,
        finished=NOW,
        data=data,
    )


@pytest.mark.parametrize(
    ("outcome", "returncode", "code"),
    [
        (Outcome.SUCCESS, 0, 0),
        (Outcome.SUCCESS, None, 0),
        (Outcome.FAILED, 1, 1),
        (Outcome.FAILED, 3, 3),
        (Outcome.FAILED, 125, 125),
        (Outcome.FAILED, 255, 255),
        (Outcome.FAILED, -15, 143),
        (Outcome.FAILED, 137, 137),
        (Outcome.FAILED, 512, 1),
        (Outcome.FAILED, None, 1),
        (Outcome.FAILED, "3", 1),
        (Outcome.TIMEOUT, -15, 124),
        (Outcome.TIMEOUT, 0, 124),
        (Outcome.OUT_OF_MEMORY, -9, 137),
        (Outcome.OUT_OF_MEMORY, 0, 137),
        (Outcome.SUBMIT_FAILED, 125, 125),
        (Outcome.SUBMIT_FAILED, 1, 1),
        (Outcome.NODE_FAIL, None, 1),
        (Outcome.DEADLINE, 0, 1),
        (Outcome.PREEMPTED, None, 1),
        (Outcome.CANCELLED, -15, 143),
        (Outcome.CANCELLED, 0, 1),
        (Outcome.CANCELLED, None, 125),
        (Outcome.LOST, None, 125),
    ],
)
def test_one_task_exits_as_its_command_did(outcome: Outcome, returncode: Any, code: int) -> None:
    """The command's own code where there is one; 125 where nobody knows it."""
    assert of_one(record(outcome, returncode=returncode)) == code


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([Outcome.SUCCESS, Outcome.SUCCESS], 0),
        ([Outcome.SUCCESS, Outcome.FAILED], 1),
        ([Outcome.TIMEOUT, Outcome.SUCCESS], 1),
        ([Outcome.CANCELLED, Outcome.FAILED], 7),
        ([Outcome.LOST, Outcome.CANCELLED], 8),
    ],
)
def test_several_tasks_exit_as_the_worst(outcomes: list[Outcome], code: int) -> None:
    """1 failed, 7 cancelled, 8 lost."""
    assert of_many([record(outcome, returncode=3) for outcome in outcomes]) == code


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (record(Outcome.SUCCESS, returncode=0), ""),
        (record(Outcome.FAILED, returncode=3), ""),
        (record(Outcome.FAILED, returncode=125), ""),
        (
            record(Outcome.FAILED, returncode=127, error_bytes=9).model_copy(update={"reason": "not found"}),
            "",
        ),
        (record(Outcome.FAILED, returncode=181).model_copy(update={"reason": "no folder"}), "no folder"),
        (record(Outcome.FAILED, returncode=125).model_copy(update={"reason": "it broke"}), "it broke"),
        (record(Outcome.TIMEOUT, returncode=-15), "ended as timeout"),
        (record(Outcome.CANCELLED).model_copy(update={"reason": "by bob"}), "by bob"),
        (record(Outcome.LOST).model_copy(update={"provisional": True}), "may still come back"),
    ],
)
def test_a_command_that_ran_is_not_spoken_over(
    ended: TaskRecord, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own stderr tells; what else there is to say is one line."""
    explain(ended)
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == (1 if said else 0)


def test_what_was_not_needed_counts_for_nothing() -> None:
    """It waited for a failure that did not come, or for one that did; what was cancelled otherwise counts."""
    numbers = iter(range(10))

    def named(outcome: Outcome, unmet: TaskRecord | None = None, on: On = On.SUCCESS) -> TaskRecord:
        uid = f"shell-01990000-0000-7000-8000-00000000000{next(numbers)}"
        after = None if unmet is None else WaitingFor(count=1, parents=(Parent(uuid=unmet.uuid, on=on),))
        changed = {"uid": uid, "unmet": unmet and unmet.uuid, "after": after}
        return record(outcome).model_copy(update=changed)

    good, bad = named(Outcome.SUCCESS), named(Outcome.FAILED)
    alarm = named(Outcome.CANCELLED, good, On.FAIL)
    sequel = named(Outcome.CANCELLED, alarm)
    assert of_many([good, alarm, sequel]) == 0
    assert of_many([good, alarm, named(Outcome.CANCELLED, bad)]) == 7
