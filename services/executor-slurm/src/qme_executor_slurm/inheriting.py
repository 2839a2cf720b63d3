"""What is known of an attempt that was taken over from another worker, whose journal is on another node: its record.

Reads only, and notes the job in the journal of this node. Nothing is submitted or looked for here.
"""

from __future__ import annotations

import time

from qme.executor import Task
from qme_executor_slurm.call import clusters_of
from qme_executor_slurm.journal import Journal, Open, Submitted


def inherit(task: Task, journal: Journal) -> None:
    """Note the job that another worker submitted for this attempt, where the record tells of one. Raises OSError."""
    data, claim = task.record.data, task.record.claim
    job = str(data.get("jobid") or "")
    if claim is None or not claim.earlier or not job.isdecimal():
        return
    times = data.get("submission") or {}
    at = times.get("at") or task.record.created.timestamp()
    paths = (data.get(name) for name in ("outputfile", "errorfile", "workdir"))
    journal.accept(Submitted(int(job), at, data.get("cluster"), times.get("answered"), *paths))


def others_calls(task: Task) -> Open | None:
    """Give the calls of sbatch that those may have made who held the attempt before; None: nobody did."""
    claim = task.record.claim
    if claim is None or not claim.earlier:
        return None
    since = task.record.released or task.record.created
    return Open(since.timestamp(), time.time(), clusters_of(task))


def waits_for(task: Task) -> str:
    """Say for whom sbatch waits."""
    claim = task.record.claim
    workers = ", ".join(holder.worker for holder in claim.earlier) if claim else ""
    return f"{workers} fell silent and may have submitted it: its job is looked for, sbatch waits until it is back"
