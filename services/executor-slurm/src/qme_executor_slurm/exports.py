"""What a task shows of its job: data for its record, and a line for people. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qme.contracts import elements
from qme.contracts.elements import Element
from qme.contracts.tasks import Status
from qme_executor_slurm.jobs import Job, Part
from qme_executor_slurm.states import NO_REASON


def exported(job: Job) -> dict[str, Any]:
    """Give the data of a job as it stands."""
    parts = list(job.parts.values())
    data: dict[str, Any] = {
        "slurm_state": _state(job),
        "slurm_reason": _common(part.reason for part in parts),
        "partition": _common(part.partition for part in parts),
        "nodes": _common(part.nodes for part in parts),
        "restarts": max((part.restarts for part in parts), default=0),
        "slurm_started": _iso(job.started),
    }
    if has_parts(job):
        data["array"] = {**job.counts(), **elements.pack(_element(part, job) for part in parts)}
    if job.unknown:
        data["unknown_states"] = sorted(job.unknown)
    return data


def reason(job: Job, trouble: str | None) -> str:
    """Say in a line why the job stands as it does; empty where there is nothing to say."""
    if trouble:
        return f"Slurm does not answer: {trouble}"
    waiting = [part for part in job.parts.values() if part.status is Status.QUEUED]
    if job.status is not Status.QUEUED or not waiting:
        return ""
    part = waiting[0]
    why = part.reason if part.reason and part.reason not in NO_REASON else part.state
    return f"in Slurm's queue: {why}" + (" (held)" if part.held else "")


def is_array(job: Job) -> bool:
    """Tell whether it has elements, each with an output file of its own."""
    return any("_" in name for name in job.parts)


def has_parts(job: Job) -> bool:
    """Tell whether it is an array, or the several jobs of a heterogeneous one, which share their output file."""
    return any(name != str(job.id) for name in job.parts)


def _state(job: Job) -> str | None:
    if job.ending:
        return job.ending.state
    states = Counter(part.state for part in job.parts.values() if not part.ending)
    return states.most_common(1)[0][0] if states else None


def _common(values: Any) -> str | None:
    """Give the value that all share, or the first few."""
    found = list(dict.fromkeys(value for value in values if value))
    return ",".join(found[:3]) + (",…" if len(found) > 3 else "") if found else None


def _element(part: Part, job: Job) -> Element:
    name = part.name.removeprefix(str(job.id))
    ending = part.ending
    return Element(
        name.removeprefix("_"),
        ending.state if ending else part.state,
        ending.outcome.value if ending else None,
        ending.returncode if ending else None,
        part.nodes,
    )


def _iso(time: Any) -> str | None:
    return time.isoformat() if time else None
