"""Why a job has not been started, from what its controller shows of it (scontrol show job). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qme_executor_slurm.states import NO_REASON

#: what the commonest of Slurm's reasons mean
_MEANING = {
    "Priority": "jobs of a higher priority are before it",
    "Resources": "it is next, and waits for nodes that are free",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "the job that it waits for has not ended as it should; cancel it",
    "BeginTime": "its begin time has not come",
    "JobHeldUser": "it is held; `qme exec ID release` lets it go",
    "JobHeldAdmin": "an administrator of Slurm holds it",
    "Reservation": "it waits for its reservation",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs",
    "PartitionTimeLimit": "it asks for more time than its partition gives",
    "PartitionNodeLimit": "it asks for more nodes than its partition gives",
    "ReqNodeNotAvail": "a node that it asks for can't be had now",
    "JobArrayTaskLimit": "as many elements run as its array allows at a time",
    "Licenses": "it waits for a licence",
}
_UNKNOWN = frozenset({"", "Unknown", "N/A", "(null)"})


def waits(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """Say why jobs (one, or the parts of one) wait, and when Slurm expects to start the first; empty: none does."""
    pending = [job for job in jobs if job.get("JobState", "").startswith("PENDING")]
    if not pending:
        return []
    first = pending[0]
    number = first.get("JobId", "?")
    name = first.get("Reason", "").split(",")[0]
    why = "Slurm gives no reason yet" if name in NO_REASON else f"Slurm says {first['Reason']}"
    meaning = f" ({_MEANING[name]})" if name in _MEANING else ""
    said = [f"job {number} is in Slurm's queue, partition {first.get('Partition', '?')}: {why}{meaning}"]
    expected = min(
        (job["StartTime"] for job in pending if job.get("StartTime", "") not in _UNKNOWN), default=""
    )
    if expected:
        said.append(f"Slurm expects to start it at {expected} UTC; that changes as other jobs come and go")
    if len(pending) > 1:
        said.append(f"{len(pending)} parts of it wait")
    return said
