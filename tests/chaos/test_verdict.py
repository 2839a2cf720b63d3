"""The judge of the chaos run sees each way in which a promise can be broken, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.plan import FOR_EVER, Job, Kind, clients, number_in
from tests.chaos.report import Report
from tests.chaos.run import Chaos
from tests.chaos.verdict import Notes, Seen, Verdict, judge

from qme.contracts.tasks import Attempt, Outcome, Status, TaskRecord

NOW = datetime(2030, 1, 1, tzinfo=UTC)
UID = "shell-01890000-0000-7000-8000-000000000001"
JOB = Job(1, Kind.PLAIN, lines=3, seconds="0", codes=(42,))


def record(job: Job = JOB, uid: str = UID, **changes: Any) -> TaskRecord:
    """The record of a task that ended as its job says."""
    plain = TaskRecord(
        uid=uid,
        executor="shell",
        pool="u-admin",
        command=" ".join(job.words(Path("/notes"))),
        user="admin",
        status=Status.COMPLETE,
        outcome=Outcome.SUCCESS if job.code(1) == 0 else Outcome.FAILED,
        created=NOW,
        started=NOW,
        finished=NOW,
        data={"returncode": job.code(1), "output_bytes": len(job.stdout(1))},
    )
    return plain.model_copy(update=changes)


def notes(*lines: tuple[int, int | None], uid: str = UID) -> Notes:
    """What commands noted: attempts with their exit codes, None for those that noted no end."""
    found = Notes()
    found.read(
        [f"{uid} {attempt} 1.0" for attempt, _ in lines],
        [f"{uid} {attempt} 2.0 {code}" for attempt, code in lines if code is not None],
    )
    return found


def verdict(
    one: TaskRecord,
    found: Notes,
    *,
    job: Job = JOB,
    out: str | None = None,
    err: str | None = None,
    **more: Any,
) -> Verdict:
    """Judge a single task."""
    shown = Seen(
        one,
        job.stdout(one.attempt) if out is None else out,
        job.stderr(one.attempt) if err is None else err,
    )
    return judge({job.number: job}, [one.uid], {one.uid: shown}, found, **more)


def broken(found: Verdict) -> list[str]:
    """The promises that a verdict finds broken."""
    return [name for name, tasks in found.broken.items() if tasks]


def test_all_is_well() -> None:
    """A task that did what its record says breaks nothing, and is counted."""
    found = verdict(record(), notes((1, 42)))
    assert broken(found) == []
    assert (found.accepted, found.attempts, dict(found.outcomes)) == (1, 1, {"failed": 1})


def test_lost() -> None:
    """An id without a record, a start without a record, and the outcome `lost` are lost tasks."""
    assert broken(judge({1: JOB}, [UID], {}, Notes())) == ["lost"]
    assert broken(judge({1: JOB}, [], {}, notes((1, 42)))) == ["lost"]
    assert broken(verdict(record(status=Status.LOST, outcome=Outcome.LOST), notes((1, None)))) == ["lost"]


def test_started_twice() -> None:
    """Two notes of a start of one attempt are two starts, whatever the record says."""
    assert broken(verdict(record(), notes((1, 42), (1, 42)))) == ["started twice"]


def test_submitted_twice() -> None:
    """One job that became two tasks was submitted twice."""
    other = UID[:-1] + "2"
    both = {uid: Seen(record(uid=uid), JOB.stdout(1), JOB.stderr(1)) for uid in (UID, other)}
    found = notes((1, 42))
    found.read([f"{other} 1 1.0"], [f"{other} 1 2.0 42"])
    assert broken(judge({1: JOB}, [UID], both, found)) == ["submitted twice"]


def test_stuck() -> None:
    """A task without an outcome is stuck."""
    open_ = record(status=Status.RUNNING, outcome=None, finished=None)
    assert broken(verdict(open_, notes((1, None)))) == ["stuck"]


WRONG: Mapping[str, dict[str, Any]] = {
    "another outcome": {"one": record(outcome=Outcome.SUCCESS)},
    "another code": {"one": record(data={"returncode": 1, "output_bytes": len(JOB.stdout(1))})},
    "never started": {"found": Notes()},
    "never ended": {"found": notes((1, None))},
    "output cut": {"out": JOB.stdout(1)[:-5]},
    "output twice": {"out": JOB.stdout(1) * 2},
    "errors cut": {"err": ""},
    "bytes miscounted": {"one": record(data={"returncode": 42, "output_bytes": 1})},
    "an attempt that nobody wanted": {"one": record(attempt=2), "found": notes((1, 42), (2, 42))},
    "a record that can't be": {"one": record(finished=None)},
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_state(what: str) -> None:
    """A record that says something else than what the command did is wrong."""
    case = {"one": record(), "found": notes((1, 42)), **WRONG[what]}
    assert broken(verdict(**case)) == ["wrong state"]


def test_retries() -> None:
    """Each attempt of a task that was tried again is held to its own exit code."""
    job = Job(1, Kind.RETRIED, lines=1, seconds="0", codes=(3, 0))
    line = Attempt(attempt=1, outcome=Outcome.FAILED, returncode=3)
    data = {"returncode": 0, "output_bytes": len(job.stdout(2))}
    good = record(job, attempt=2, attempts=(line,), outcome=Outcome.SUCCESS, data=data)
    assert broken(verdict(good, notes((1, 3), (2, 0)), job=job)) == []
    assert broken(verdict(good, notes((2, 0)), job=job)) == ["wrong state"]
    forgot = good.model_copy(update={"attempts": ()})
    assert broken(verdict(forgot, notes((1, 3), (2, 0)), job=job)) == ["wrong state"]
    assert broken(verdict(record(job), notes((1, 3)), job=job)) == ["wrong state"]


def test_ended_by_others() -> None:
    """Time limit and cancelling show in the outcome, and what they ended did not end by itself."""
    for kind, status, outcome in (
        (Kind.LIMITED, Status.COMPLETE, Outcome.TIMEOUT),
        (Kind.CANCELLED, Status.CANCELLED, Outcome.CANCELLED),
    ):
        job = replace(JOB, kind=kind, seconds=FOR_EVER)
        ended = record(job, status=status, outcome=outcome, data={})
        assert broken(verdict(ended, notes((1, None)), job=job, out="1.1 line 1\n", err="")) == []
        assert broken(verdict(ended, notes((1, 42)), job=job, err="")) == ["wrong state"]
        assert broken(verdict(record(job), notes((1, 42)), job=job)) == ["wrong state"]


def test_a_race_may_end_either_way() -> None:
    """Cancelled at about its end, a task may be both, but nothing else."""
    job = replace(JOB, kind=Kind.RACED)
    cancelled = record(job, status=Status.CANCELLED, outcome=Outcome.CANCELLED)
    assert broken(verdict(cancelled, notes((1, 42)), job=job)) == []
    assert broken(verdict(cancelled, Notes(), job=job, out="", err="")) == []
    assert broken(verdict(record(job), notes((1, 42)), job=job)) == []
    assert broken(verdict(record(job, outcome=Outcome.TIMEOUT), notes((1, 42)), job=job)) == ["wrong state"]


def test_a_rerun_that_was_promised() -> None:
    """Who was told that a task runs once more finds a second attempt."""
    job = Job(1, Kind.RERUN, lines=1, seconds="0", codes=(42, 9))
    assert broken(verdict(record(job), notes((1, 42)), job=job)) == []
    assert broken(verdict(record(job), notes((1, 42)), job=job, rerun=[UID])) == ["wrong state"]


def test_a_seed_repeats_its_jobs() -> None:
    """The same seed brings the same clients; a job's number is found again in its command."""
    streams = [clients(seed, 20) for seed in (1, 1, 2)]
    first, again, other = ([next(stream) for _ in range(30)] for stream in streams)
    assert first == again != other
    job = first[0].jobs[0]
    assert number_in(" ".join(job.words(Path("/some where/notes")))) == job.number


def test_a_run_that_came_short_is_no_success() -> None:
    """Fewer tasks than asked for, or a client that hung, fail the run although no task is wrong."""
    well = verdict(record(), notes((1, 42)))
    chaos = Chaos(seed=1, tasks=1, seconds=1.0)
    assert Report(chaos, 1.0, well, well.outcomes, []).holds
    assert not Report(replace(chaos, tasks=2), 1.0, well, well.outcomes, []).holds
    assert not Report(chaos, 1.0, well, well.outcomes, ["it hung"]).holds
