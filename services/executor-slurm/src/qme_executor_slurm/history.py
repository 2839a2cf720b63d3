"""The states that a job has been through, with their times, as the task's record keeps them. Pure.

Slurm itself tells when a job started and ended; the time of any other change is that of the poll which saw it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from qme.contracts.tasks import Status
from qme_executor_slurm.jobs import Job, Part
from qme_executor_slurm.states import NO_REASON

#: states that a record has room for: the first, and the last ones
MOST = 20

States = list[dict[str, str]]


def read(told: Any) -> States:
    """Give what a record tells; nothing where it can't be read, so that an odd one stops no job."""
    try:
        return sorted(({**one} for one in told or () if one["state"]), key=_moment)
    except (TypeError, ValueError, LookupError):
        return []


def after(past: Iterable[Mapping[str, str]], job: Job, now: datetime) -> States:
    """Give the states so far, and how the job stands now where that is news."""
    found: States = [dict(one) for one in past]
    if not found:
        found.append({"state": "PENDING", "at": (job.answered or job.submitted).isoformat()})
    started = job.started
    # Also one that began and ended between two polls ran.
    if started and not any(one["state"] == "RUNNING" and _moment(one) >= started for one in found):
        found.append({"state": "RUNNING", "at": _later(found, started)})
    state, reason = _standing(job)
    last = found[-1]
    if state == last["state"] and reason and "reason" not in last:
        last["reason"] = reason
    elif state and (state != last["state"] or reason not in (None, last.get("reason"))):
        at = _later(found, (job.ended if job.ending else None) or now)
        found.append({"state": state, **({"reason": reason} if reason else {}), "at": at})
    return found if len(found) <= MOST else [found[0], *found[1 - MOST :]]


def _standing(job: Job) -> tuple[str | None, str | None]:
    """Give the state that speaks for the job, and the reason. An array that has begun goes on until it has ended."""
    parts = list(job.parts.values())
    if job.ending:
        return job.ending.state, _reason(parts)
    open_parts = [part for part in parts if not part.ending]
    if job.status is not Status.QUEUED:
        open_parts = [part for part in open_parts if part.status is not Status.QUEUED]
    states = Counter(part.state for part in open_parts)
    return (states.most_common(1)[0][0], _reason(open_parts)) if states else (None, None)


def _reason(parts: Iterable[Part]) -> str | None:
    return next((part.reason for part in parts if part.reason and part.reason not in NO_REASON), None)


def _later(found: States, time: datetime) -> str:
    """Give a time that is not before the last one's: Slurm's are whole seconds."""
    return max(time, _moment(found[-1])).isoformat()


def _moment(one: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(one["at"])
