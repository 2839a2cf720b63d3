"""Which rows are about our job: numbers are given again, and comments get lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qme_executor_slurm import jobids
from qme_executor_slurm.identity import is_ours, own
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.parsers import QueueRow

CALLED = datetime(2030, 1, 1, 12, tzinfo=UTC)
ANSWERED = CALLED + timedelta(seconds=2)
TOLD = Job(7, CALLED, ("u", 1), answered=ANSWERED)
ADOPTED = Job(7, CALLED, ("u", 1))


@pytest.mark.parametrize(
    ("job", "comment", "line", "seconds", "ours"),
    [
        pytest.param(TOLD, "qme:u:1", "", 0, True, id="our marker"),
        pytest.param(TOLD, "mine qme:u:1", "", 90_000, True, id="requeued a day later"),
        pytest.param(
            TOLD, "", "sbatch --comment=qme:u:1 --parsable x", 90_000, True, id="in the command line"
        ),
        pytest.param(TOLD, "qme:u:2", "", 0, False, id="another attempt"),
        pytest.param(TOLD, "qme:v:1", "", 0, False, id="another task, at the same time"),
        pytest.param(TOLD, "", "sbatch --comment=qme:v:1 --parsable x", 0, False, id="another task's line"),
        pytest.param(TOLD, "edited", "", 1, True, id="no marker, submitted just then"),
        pytest.param(TOLD, "", "", -59, True, id="a clock behind ours"),
        pytest.param(TOLD, "", "", -61, False, id="submitted before"),
        pytest.param(TOLD, "", "", 61, True, id="a clock ahead of ours"),
        pytest.param(TOLD, "", "", 63, False, id="submitted after: the number was given again"),
        pytest.param(ADOPTED, "", "", 1, False, id="found by its marker, which is not there"),
        pytest.param(ADOPTED, "qme:u:1", "", 1, True, id="found by its marker"),
    ],
)
def test_a_row_is_ours_by_its_marker_or_by_its_time(
    job: Job, comment: str, line: str, seconds: float, ours: bool
) -> None:
    """The marker decides where there is one."""
    assert is_ours(job, CALLED + timedelta(seconds=seconds), comment, line) is ours


def test_without_marker_and_time_nothing_is_ours() -> None:
    """What can't be told is left alone."""
    assert not is_ours(TOLD, None, "")


def row(name: str, comment: str, seconds: float = 90_000) -> QueueRow:
    """A row of squeue, of a job that was requeued long after its submission."""
    part = jobids.parse(name)
    assert part
    at = CALLED + timedelta(seconds=seconds)
    return QueueRow(part, "RUNNING", None, at, None, None, None, None, None, 1, comment)


def test_a_heterogeneous_jobs_components_come_with_the_first() -> None:
    """Only that one carries the marker; others of that number without it are none of ours."""
    marked, others = row("7+0", "mine qme:u:1"), [row("7+1", ""), row("7+2", "theirs")]
    assert own(ADOPTED, [marked, *others]) == [marked, *others]
    assert own(ADOPTED, others) == []
    assert own(ADOPTED, [row("7+0", "qme:v:1"), *others]) == []
    assert own(ADOPTED, [marked, row("8+1", ""), row("7+3", "qme:v:1")]) == [marked]
    assert own(ADOPTED, [row("7_1", "qme:u:1"), row("7_2", "")]) == [row("7_1", "qme:u:1")]
