"""Which job a marker belongs to: asked after an sbatch whose answer never came. Pure.

That nothing is found means something only when squeue was asked after the call was over, answered, and was asked again
some time later: a controller that was stopped may take a job minutes after sbatch gave up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qme_executor_slurm import sbatch, states
from qme_executor_slurm.parsers import AccountRow, QueueRow


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A job that carries the marker."""

    job: int
    #: Slurm refused it and kept a record of that: the task ends as submit_failed
    refused: bool = False


def find(
    uuid: str, attempt: int, queue: Iterable[QueueRow], accounts: Iterable[AccountRow] = ()
) -> list[Found]:
    """Give the jobs that carry this marker by number: one, or none. More would be a broken promise, worth an alarm."""
    mark = (uuid, attempt)
    found = {row.id.job: _refused(row) for row in queue if sbatch.marked(row.comment) == mark}
    for row in accounts:
        if mark in (sbatch.marked(row.comment), sbatch.marked_line(row.submit_line)):
            found.setdefault(row.id.job, _refused(row))
    return sorted(Found(job, refused) for job, refused in found.items())


def _refused(row: QueueRow | AccountRow) -> bool:
    """Tell the record that a refused submission leaves (a job too large for every node): failed, and never anywhere."""
    return states.base(row.state) == "FAILED" and row.nodes is None and row.started == row.ended
