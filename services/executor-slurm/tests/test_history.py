"""Which states of a job a record keeps: made of what polls saw, and of the times that Slurm itself tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from qme_executor_slurm import history, states
from qme_executor_slurm.jobs import Job, Part

BEGIN = datetime(2026, 5, 1, 12, 0, 0, 400_000, UTC)


def at(seconds: float) -> datetime:
    """A moment after the submission."""
    return BEGIN + timedelta(seconds=seconds)


def job(*parts: Part) -> Job:
    """A job that was submitted at the beginning."""
    return Job(7, BEGIN, ("u", 1), {part.name: part for part in parts}, answered=at(0.1))


def part(state: str, name: str = "7", **fields: Any) -> Part:
    """A part as a poll saw it."""
    return Part(name, BEGIN, state, ending=states.ending(state), **fields)


def told(polls: Sequence[tuple[float, Job]]) -> list[tuple[str, str | None, float]]:
    """What stands in the record after these polls; times in seconds from the submission."""
    found: history.States = []
    for seconds, seen in polls:
        found = history.after(found, seen, at(seconds))
    return [
        (one["state"], one.get("reason"), (datetime.fromisoformat(one["at"]) - BEGIN).total_seconds())
        for one in found
    ]


def test_states_stand_with_their_times():
    """A wait with its reasons as polls saw them; begin and end as Slurm says them."""
    assert told([
        (1, job(part("PENDING", reason="Priority"))),
        (2, job(part("PENDING", reason="Priority"))),
        (3, job(part("PENDING", reason="Resources"))),
        (9, job(part("RUNNING", started=at(7), reason="None"))),
        (20, job(part("COMPLETED", started=at(7), ended=at(15)))),
    ]) == [
        ("PENDING", "Priority", 0.1), ("PENDING", "Resources", 3.0), ("RUNNING", None, 7.0),
        ("COMPLETED", None, 15.0),
    ]  # fmt: skip


def test_a_job_that_no_poll_saw_alive_has_run():
    """It waited and ran, though it had ended at the first look; whole seconds of Slurm's put nothing out of order."""
    ended = part("FAILED", reason="NonZeroExitCode", started=at(-0.4), ended=at(0.6))
    assert told([(5, job(ended))]) == [
        ("PENDING", None, 0.1), ("RUNNING", None, 0.1), ("FAILED", "NonZeroExitCode", 0.6),
    ]  # fmt: skip


def test_a_requeued_job_runs_twice():
    """Also where no poll saw it wait in between."""
    polls = [(2, job(part("RUNNING", started=at(1)))), (9, job(part("RUNNING", started=at(6))))]
    assert told(polls) == [("PENDING", None, 0.1), ("RUNNING", None, 1.0), ("RUNNING", None, 6.0)]


def test_an_array_that_has_begun_does_not_go_back_and_forth():
    """One element at a time runs, between them all others wait: that is one stretch."""

    def array(*names: str) -> Job:
        return job(
            *(
                part(name, f"7_{n}", started=at(1) if name != "PENDING" else None)
                for n, name in enumerate(names)
            )
        )

    polls = [
        (2, array("RUNNING", "PENDING")),
        (3, array("COMPLETED", "PENDING")),
        (4, array("COMPLETED", "RUNNING")),
    ]
    done = replace(array("COMPLETED", "FAILED"))
    assert [name for name, *_ in told([*polls, (9, done)])] == ["PENDING", "RUNNING", "FAILED"]


def test_the_list_stays_short():
    """The first state and the last ones are kept, and the same look twice adds nothing."""
    polls = [(n, job(part("PENDING", reason=("Priority", "Resources")[n % 2]))) for n in range(1, 60)]
    found = told(polls)
    assert (len(found), found[0][2], found[-1][2]) == (history.MOST, 0.1, 59.0)
    assert told([*polls, polls[-1]]) == found


def test_a_worker_goes_on_where_the_last_one_was():
    """What the record tells is continued; what nobody can read begins anew."""
    past = history.after([], job(part("RUNNING", started=at(1))), at(2))
    ended = job(part("COMPLETED", started=at(1), ended=at(8)))
    assert [one["state"] for one in history.after(history.read(past), ended, at(30))] == [
        "PENDING", "RUNNING", "COMPLETED",
    ]  # fmt: skip
    for odd in (None, 7, "x", [3], [{"state": "PENDING"}], [{"state": "RUNNING", "at": "noon"}]):
        assert history.read(odd) == []
