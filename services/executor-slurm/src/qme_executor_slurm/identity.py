"""Which of Slurm's rows are about a job of ours. Pure.

A job's number alone says little: a controller that lost its state gives it to the next job. The marker in the comment
does, and the rows that are looked at are those of our own account only (``squeue --me``, ``sacct -u``), so that nobody
else can forge one. A site's plug-in may drop comments, and people edit them: a row without any marker counts only if
its job was submitted just when our sbatch was told the number.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from qme_executor_slurm import sbatch
from qme_executor_slurm.jobs import Job

#: the cluster's clock may differ from ours by so much
CLOCK_SLACK = timedelta(seconds=60)


def is_ours(job: Job, submitted: datetime | None, comment: str, submit_line: str = "") -> bool:
    """Tell whether a row with the job's number is about this job."""
    mark = sbatch.marked(comment) or sbatch.marked_line(submit_line)
    if mark is not None:
        return mark == job.mark
    if job.answered is None or submitted is None:
        return False  # it was found by its marker, and has lost it
    return job.submitted - CLOCK_SLACK <= submitted <= job.answered + CLOCK_SLACK
