"""What a cycle of polling tells: which jobs accounting must be asked about, and what has become of each. Pure.

The rules, in short: squeue is the truth about jobs that live and those that ended a moment ago; sacct about those that
it no longer shows. No answer, no row and an unknown state change nothing. Only a job that both, answering, do not know
for a long time is lost; a node failure or preemption counts once Slurm will not run the job again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import states
from qme_executor_slurm.identity import own
from qme_executor_slurm.jobs import Job, Part
from qme_executor_slurm.parsers import AccountRow, QueueRow
from qme_executor_slurm.states import Ending

RowT = TypeVar("RowT", QueueRow, AccountRow)
Rows = Mapping[int, Sequence[RowT]]


@dataclass(frozen=True, slots=True)
class Rules:
    """How long the poller believes what; in seconds."""

    #: a job that was submitted no longer ago may be in no list yet
    young: float = 120.0
    #: lost: found nowhere for so long …
    lost_after: float = 600.0
    #: … in so many cycles in a row that both lists answered
    lost_cycles: int = 3
    #: accounting may be away, or show a job alive that the controller has forgotten, for so long
    settle: float = 86_400.0
    #: how long Slurm is given to run a job again after a preemption or node failure
    requeue: float = 300.0
    #: how long the controller shows ended jobs (MinJobAge)
    min_job_age: float = 300.0
    #: the cluster keeps accounts at all
    accounting: bool = True


@dataclass(frozen=True, slots=True)
class Cycle:
    """What Slurm answered in one cycle; there is none where squeue failed. Rows by job number (`by_job`)."""

    now: datetime
    queue: Rows[QueueRow]
    #: rows of the jobs that `to_ask` named; None: sacct failed, or there is no accounting
    accounts: Rows[AccountRow] | None = None
    #: of the parts that `provisional` named: will Slurm run it again? False too where scontrol knows it no longer
    requeue: Mapping[str, bool] = field(default_factory=dict)


def by_job(rows: Iterable[RowT]) -> dict[int, list[RowT]]:
    """Sort rows by their job's number."""
    found: dict[int, list[RowT]] = {}
    for row in rows:
        found.setdefault(row.id.job, []).append(row)
    return found


def to_ask(jobs: Iterable[Job], queue: Rows[QueueRow], rules: Rules) -> list[int]:
    """Give the jobs to ask sacct about: squeue no longer shows a part of them, or not how it ended."""
    return [job.id for job in jobs if rules.accounting and _open(job, _rows(job, queue))]


def _open(job: Job, rows: Mapping[str, QueueRow]) -> bool:
    if job.ending:
        return False
    names = _names(job, rows)
    unclear = any(row.exit is None and states.ending(row.state) for row in rows.values())
    known = (name in rows or str(job.id) in rows or _ended(job, name) for name in names)
    return unclear or not all(known)


def _ended(job: Job, name: str) -> bool:
    return name in job.parts and job.parts[name].ending is not None


def provisional(jobs: Iterable[Job]) -> list[str]:
    """Give the parts to ask scontrol about: Slurm may run them again."""
    return [part.name for job in jobs for part in job.parts.values() if part.provisional and not part.ending]


def follow(job: Job, cycle: Cycle, rules: Rules) -> Job:
    """Give what is known of a job after a cycle."""
    queue = _rows(job, cycle.queue)
    accounts = _rows(job, cycle.accounts or {})
    parts: dict[str, Part] = {}
    for name in _names(job, queue, accounts):
        part = job.parts.get(name) or Part(name, job.submitted)
        if row := queue.get(name) or (None if part.ending else queue.get(str(job.id))):
            parts[name] = _shown(part, row, accounts.get(name), cycle, rules)
        elif part.ending:
            parts[name] = part
        else:
            parts[name] = _not_shown(part, accounts.get(name), job, cycle, rules)
    met = {row.state for row in queue.values()} | {states.base(row.state) for row in accounts.values()}
    return replace(job, parts=parts, unknown=job.unknown | {s for s in met if states.meaning(s) is None})


def _names(
    job: Job, queue: Mapping[str, QueueRow], accounts: Mapping[str, AccountRow] | None = None
) -> list[str]:
    """Give the names of a job's parts.

    The job's own name stands for the parts of an array that are not known yet, and for those that were cancelled
    together before they started: it is a part only where none is known that it could stand for.
    """
    own = str(job.id)
    names = [*dict.fromkeys([*job.parts, *queue, *(accounts or ())])]
    others = [name for name in names if name != own]
    if others and (own not in queue or any(name not in queue for name in others)):
        return others
    return names or [own]


def _rows(job: Job, rows: Rows[RowT]) -> dict[str, RowT]:
    """Give the rows that are about a job, by part; the latest where it was started several times."""
    found: dict[str, RowT] = {}
    for row in own(job, rows.get(job.id, ())):
        for name in row.id.parts():
            other = found.get(name)
            if not (other and other.submitted and row.submitted and other.submitted > row.submitted):
                found[name] = row
    return found


def _shown(part: Part, row: QueueRow, account: AccountRow | None, cycle: Cycle, rules: Rules) -> Part:
    """Go by the controller's own row."""
    found = states.meaning(row.state)
    part = replace(part, seen=cycle.now, misses=0, missing=None)
    if found is None or found.status is None:
        return part
    queued = found.status is Status.QUEUED
    part = replace(
        part,
        state=row.state,
        reason=row.reason,
        partition=row.partition,
        nodes=row.nodes,
        started=None if queued or not row.nodes else row.started,  # cancelled unstarted: the time of that
        ended=row.ended if found.outcome else None,
        restarts=row.restarts,
    )
    if found.outcome is None:
        return replace(part, ending=None, provisional=None)
    exited = row.exit or (account.exit if account and _accounted(account) else None)
    if exited is None and rules.accounting and not _past(part.ended, rules.settle, cycle.now):
        return part  # accounting will say
    return _conclude(part, states.ending(row.state, exited), cycle, rules)


def _not_shown(part: Part, account: AccountRow | None, job: Job, cycle: Cycle, rules: Rules) -> Part:
    """Go by accounting, and where that says nothing, by how long nothing has been said."""
    ended = _accounted(account) if account else None
    if account and ended:
        part = replace(
            part,
            seen=cycle.now,
            state=ended.state,
            partition=account.partition,
            nodes=account.nodes,
            started=account.started,
            ended=account.ended,
            misses=0,
            missing=None,
        )
        return _conclude(part, ended, cycle, rules)
    if part.seen == job.submitted and not _past(job.submitted, rules.young, cycle.now):
        return part  # no list has shown it yet
    if account or (rules.accounting and cycle.accounts is None):
        # It shows a job alive that the controller has forgotten, or does not answer: both are mended, if late.
        silent = "its ending did not reach accounting" if account else "accounting did not answer"
        return _lost(part, cycle, silent) if _past(part.seen, rules.settle, cycle.now) else part
    part = replace(part, misses=part.misses + 1, missing=part.missing or cycle.now)
    return _vanished(part, cycle, rules)


def _accounted(row: AccountRow) -> Ending | None:
    """Give the ending that accounting knows in full.

    After slurmdbd was away it shows the final state, with exit code 0, ten seconds before it is told how and when.
    """
    return states.ending(row.state, row.exit) if row.ended else None


def _vanished(part: Part, cycle: Cycle, rules: Rules) -> Part:
    """Judge a part that no list shows, though all of them answered."""
    assert part.missing  # noqa: S101 -- the caller has just set it
    if part.misses < rules.lost_cycles:
        return part
    shown_until_then = not _past(part.seen, rules.min_job_age, part.missing)
    if "_" in part.name and part.status is Status.QUEUED and part.reason and shown_until_then:
        # Had it been started, the controller would still show it.
        why = "cancelled before it started (Slurm keeps no record of such an element)"
        return replace(part, ending=Ending("CANCELLED", Status.CANCELLED, Outcome.CANCELLED, 1, reason=why))
    if not rules.accounting and _past(part.seen, rules.min_job_age, cycle.now):
        return _lost(part, cycle, "it ended with an unknown result, as this cluster keeps no accounts")
    if rules.accounting and _past(part.seen, rules.lost_after, cycle.now):
        return _lost(part, cycle, "neither squeue nor sacct knows it")
    return part


def _conclude(part: Part, ended: Ending | None, cycle: Cycle, rules: Rules) -> Part:
    """End a part, unless Slurm may run it again."""
    found = states.meaning(part.state)
    if not (found and found.provisional):
        return replace(part, ending=ended)
    since = part.provisional or cycle.now
    if cycle.requeue.get(part.name) is False or _past(since, rules.requeue, cycle.now):
        return replace(part, ending=ended)
    return replace(part, provisional=since)


def _lost(part: Part, cycle: Cycle, why: str) -> Part:
    ending = Ending(part.state, Status.LOST, Outcome.LOST, 1, "infra", f"lost: {why}")
    return replace(part, ending=ending, ended=cycle.now)


def _past(since: datetime | None, seconds: float, now: datetime) -> bool:
    return since is not None and now - since >= timedelta(seconds=seconds)
