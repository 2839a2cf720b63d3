"""What a job that waits in Slurm's queue is said to wait for, from scontrol's own fields."""

from __future__ import annotations

import pytest

from qme_executor_slurm.pending import waits

JOB = {"JobId": "7", "JobState": "PENDING", "Partition": "gpu", "Reason": "Priority", "StartTime": "Unknown"}
BEGUN = {**JOB, "JobState": "RUNNING"}
SOON = {**JOB, "Reason": "Resources", "StartTime": "2026-01-02T03:04:05"}
QUEUE = "job 7 is in Slurm's queue, partition gpu:"


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([], []),
        ([BEGUN], []),
        ([JOB], [f"{QUEUE} Slurm says Priority (jobs of a higher priority are before it)"]),
        ([{**JOB, "Reason": "None"}], [f"{QUEUE} Slurm gives no reason yet"]),
        ([{**JOB, "Reason": "NewIn2030"}], [f"{QUEUE} Slurm says NewIn2030"]),
        (
            [BEGUN, SOON, JOB],
            [
                f"{QUEUE} Slurm says Resources (it is next, and waits for nodes that are free)",
                "Slurm expects to start it at 2026-01-02T03:04:05 UTC; that changes as other jobs come and go",
                "2 parts of it wait",
            ],
        ),
    ],
)
def test_what_a_job_waits_for(jobs: list[dict[str, str]], said: list[str]) -> None:
    """Slurm's reason with what it means, the expected start where there is one, how many parts wait."""
    assert waits(jobs) == said
