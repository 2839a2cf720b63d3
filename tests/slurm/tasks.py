"""Slurm tasks through the real `qme`, for the tests that share one stack."""

from __future__ import annotations

from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster

#: waits that suit a cluster of ours alone
QUICK = {
    "QME_SLURM_POLL_FIRST": "0.5",
    "QME_SLURM_POLL_FLOOR": "0.3",
    "QME_SLURM_POLL_LONGEST": "2",
    "QME_SLURM_OUTPUT_FIRST": "0.1",
    "QME_SLURM_OUTPUT_LONGEST": "0.5",
}
#: what sbatch, squeue and jobs would take for wishes, in the environment that the stack was started from
STRAY = {
    "SBATCH_PARTITION": "nosuch",
    "SLURM_JOB_ID": "99",
    "SBATCH_OUTPUT": "/nowhere",
    "SQUEUE_FORMAT": "%i",
}


def standing(qme: Stack, uid: str, **fields: object) -> bool:
    """The record's fields, or those of its data, are so."""
    record = qme.record(uid)
    return all({**record["data"], **record}.get(name) == value for name, value in fields.items())


def submitted(qme: Stack, slurm: Cluster, *words: str) -> str:
    """Submit an sbatch; the task's id."""
    return qme.ok("submit", "sbatch", *words, cwd=slurm.work).strip()
