"""Which of Slurm's rows are about a job of ours. Pure.

A job's number alone says little: a controller that lost its state gives it to the next job. The marker in the comment
does, and the rows that are looked at are those of our own account only (``squeue --me``, ``sacct -u``), so that nobody
else can forge one. A site's plug-in may drop comments, and people edit them: a row without any marker counts only if
its job was submitted just when our sbatch was told the number.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from qme_executor_slurm import sbatch
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.parsers import AccountRow, Details, QueueRow

RowT = TypeVar("RowT", QueueRow, AccountRow, Details)

#: the cluster's clock may differ from ours by so much
CLOCK_SLACK = timedelta(seconds=60)


def own(job: Job, rows: Iterable[RowT]) -> list[RowT]:
    """Give the rows, of those with the job's number, that are about this job.

    Of a heterogeneous job only the first component carries the marker; the others come with it.
    """
    same = [row for row in rows if row.id.job == job.id]
    found = [row for row in same if is_ours(job, row.submitted, row.comment, _line(row))]
    if not any(sbatch.marked(row.comment) or sbatch.marked_line(_line(row)) for row in found):
        return found
    return [row for row in same if row in found or (row.id.component and not sbatch.marked(row.comment))]


def _line(row: QueueRow | AccountRow | Details) -> str:
    return row.submit_line if isinstance(row, AccountRow) else ""


def is_ours(job: Job, submitted: datetime | None, comment: str, submit_line: str = "") -> bool:
    """Tell whether a row with the job's number is about this job."""
    mark = sbatch.marked(comment) or sbatch.marked_line(submit_line)
    if mark is not None:
        return mark == job.mark
    if job.answered is None or submitted is None:
        return False  # it was found by its marker, and has lost it
    return job.submitted - CLOCK_SLACK <= submitted <= job.answered + CLOCK_SLACK
