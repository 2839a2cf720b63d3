"""What the poller concludes about real jobs from what a real Slurm said of them, by either of its lists."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import polling
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.polling import Cycle, Rules

from . import recordings

CALLED = min(row.submitted for row in recordings.queue("ended") if row.submitted)
LATER = CALLED + timedelta(minutes=2)
RULES = Rules()


def seen(name: str, snapshot: str, *, queue: bool = True) -> Job:
    """A job after one cycle of a poller that had never seen it; without `queue` the controller has forgotten it."""
    job = Job(recordings.job_of(name), CALLED, (name, 1))
    rows = polling.by_job(recordings.queue(snapshot)) if queue else {}
    accounts = polling.by_job(recordings.accounts(snapshot))
    requeue = {str(job.id): False}
    for now in (LATER, LATER + timedelta(seconds=RULES.requeue)):
        job = polling.follow(job, Cycle(now, rows, accounts, requeue), RULES)
    return job


LIVING: dict[str, tuple[Status, str, bool]] = {
    "held": (Status.QUEUED, "JobHeldUser", True),
    "later": (Status.QUEUED, "BeginTime", True),
    "too-many-cpus": (Status.QUEUED, "PartitionConfig", True),
    "too-long": (Status.QUEUED, "PartitionTimeLimit", True),
    "partition-down": (Status.QUEUED, "PartitionDown", True),
    "depends": (Status.QUEUED, "Dependency", True),
    "depends-never": (Status.QUEUED, "DependencyNeverSatisfied", True),
    "special-exit": (Status.QUEUED, "job requeued in held state", True),
    "running": (Status.RUNNING, "", False),
    "suspended": (Status.RUNNING, "", False),
}


@pytest.mark.parametrize("name", LIVING)
def test_living_jobs_stand_as_slurm_says(name: str):
    """Queued with the reason, and whether somebody has to act; or running."""
    (part,) = seen(name, "living").parts.values()
    assert (part.status, part.reason or "", part.held) == LIVING[name]
    assert (part.started is None) == (part.status is Status.QUEUED)


ENDED: dict[str, tuple[Outcome, int]] = {
    "ok": (Outcome.SUCCESS, 0),
    "exit-3": (Outcome.FAILED, 3),
    "sigkill": (Outcome.FAILED, 137),
    "sigterm": (Outcome.FAILED, 143),
    "two-lines": (Outcome.FAILED, 4),
    "no-output-folder": (Outcome.FAILED, 181),
    "no-directory": (Outcome.FAILED, 181),
    "no-interpreter": (Outcome.FAILED, 2),
    "not-found": (Outcome.FAILED, 127),
    "step-fails": (Outcome.FAILED, 7),
    "step-fails-script-does-not": (Outcome.SUCCESS, 0),
    "time-limit": (Outcome.TIMEOUT, 124),
    "out-of-memory": (Outcome.OUT_OF_MEMORY, 137),
    "deadline": (Outcome.DEADLINE, 1),
    "node-fail": (Outcome.NODE_FAIL, 1),
    "node-fail-requeued": (Outcome.SUCCESS, 0),
    "preempted": (Outcome.PREEMPTED, 1),
    "preempted-requeued": (Outcome.SUCCESS, 0),
    "too-long": (Outcome.CANCELLED, 1),
    "running": (Outcome.CANCELLED, 1),
    "requeued-held": (Outcome.CANCELLED, 1),
    "array": (Outcome.FAILED, 3),
    "array-ok": (Outcome.SUCCESS, 0),
    "het": (Outcome.FAILED, 5),
    "het-running": (Outcome.CANCELLED, 1),
}


@pytest.mark.parametrize("queue", [True, False], ids=["squeue", "sacct"])
@pytest.mark.parametrize("name", ENDED)
def test_ended_jobs_end_as_slurm_says(name: str, queue: bool):
    """The same ending from either list."""
    ending = seen(name, "ended", queue=queue).ending
    assert ending is not None
    assert (ending.outcome, ending.returncode) == ENDED[name]


def test_codes_from_128_on_are_told_by_the_controller_only():
    """Accounting takes 128 from them, which nobody can undo."""
    codes = {queue: seen("exit-255", "ended", queue=queue).ending for queue in (True, False)}
    assert {queue: ending and ending.returncode for queue, ending in codes.items()} == {True: 255, False: 127}


@pytest.mark.parametrize("name", ["held", "array-held", "depends"])
def test_jobs_that_never_became_eligible_are_told_by_the_controller_only(name: str):
    """Accounting has never heard of a job that was cancelled while it was held, which is no ending by itself."""
    told = seen(name, "ended").ending
    assert told is not None
    assert told.outcome is Outcome.CANCELLED
    assert seen(name, "ended", queue=False).ending is None


def test_the_rest_of_an_array_is_cancelled_under_its_plain_number():
    """Elements that waited get no rows of their own when all are cancelled together."""
    job = Job(recordings.job_of("array-limited"), CALLED, ("array-limited", 1))
    for snapshot in ("living", "ended", "ended"):
        rows: Any = polling.by_job(recordings.queue(snapshot))
        assert polling.to_ask([job], rows, RULES) == []
        job = polling.follow(job, Cycle(LATER, rows), RULES)
        counts = {"living": {"total": 6, "queued": 4, "running": 2}, "ended": {"total": 6, "cancelled": 6}}
        assert job.counts() == counts[snapshot]


def test_a_job_that_never_ran_has_no_start():
    """The controller gives a cancelled waiting job the time of that as its start."""
    assert seen("held", "ended").started is None
    assert seen("running", "ended").started is not None
