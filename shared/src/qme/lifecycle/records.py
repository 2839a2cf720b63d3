"""A task's record as a whole: how it begins, how it is told in a line, and what can't be true of it. No transitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qme.contracts.arrays import Progress
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Parent, Status, TaskRecord, TaskSpec, WaitingFor

#: earlier attempts kept in the record; older lines are dropped (their output stays in the log stream by attempt)
KEPT_ATTEMPTS = 20
#: characters of the command kept in a record, which is for display; the spec has all its words
KEPT_COMMAND = 16_384
#: parents named in a record; the spec has all of them
SHOWN_PARENTS = 8


def new_record(spec: TaskSpec, key: TaskKey, now: datetime) -> TaskRecord:
    """Make the record of a task just accepted: queued, not released yet."""
    files = {sent.name: sent.sha256 for sent in spec.files}
    if spec.stdin is not None:
        files["stdin"] = spec.stdin.sha256
    if spec.script is not None:
        files[spec.script.name] = spec.script.sha256
    return TaskRecord(
        uid=key.taskid,
        executor=key.executor,
        pool=key.pool,
        command=_shortened(spec.command),
        user=spec.user,
        message=spec.message,
        labels=spec.labels,
        group=spec.group,
        name=spec.name,
        after=waiting_for(spec.after),
        waiting_for=waiting_for(spec.after),
        created=now,
        resources=spec.resources,
        priority=spec.priority,
        array=_progress(spec),
        element=spec.element,
        retry=spec.retry,
        cwd=spec.cwd,
        env=tuple(sorted(spec.env)),
        files=files,
    )


def waiting_for(parents: Sequence[Parent]) -> WaitingFor | None:
    """Make the excerpt of a task's parents that its record has; None where there are none."""
    return WaitingFor(count=len(parents), parents=tuple(parents[:SHOWN_PARENTS])) if parents else None


def _progress(spec: TaskSpec) -> Progress | None:
    return Progress(count=spec.array.count, throttle=spec.array.throttle) if spec.array else None


def _shortened(command: str) -> str:
    return command if len(command) <= KEPT_COMMAND else command[:KEPT_COMMAND] + "…"


def story(record: TaskRecord) -> str:
    """One line on where the task stands and how it came there, for error messages."""
    past = ", ".join(f"{a.attempt}:{a.outcome.value}" for a in record.attempts)
    now = record.outcome.value if record.outcome else record.status.value
    held = f", claimed by {record.claim.worker}" if record.claim else ""
    return f"{record.uid} attempt {record.attempt} {now}{held}" + (f" (earlier {past})" if past else "")


def violations(record: TaskRecord) -> list[str]:
    """List what can't be true of a record; empty for every record that `advance` made."""
    final = {Status.COMPLETE, Status.CANCELLED, Status.LOST}
    rules = {
        "an ended task has a final status, and only an ended one": (record.status in final) == record.ended,
        "an ended task has a time of ending, and only an ended one": (record.finished is not None)
        == record.ended,
        "an ended task is held by nobody": not record.ended
        or (record.claim is None and record.released is None),
        "a running task is claimed": record.status is not Status.RUNNING or record.claim is not None,
        "cancelled is cancelled": (record.status is Status.CANCELLED)
        == (record.outcome is Outcome.CANCELLED),
        "lost is lost": (record.status is Status.LOST) == (record.outcome is Outcome.LOST),
        "only a lost task is provisional": not record.provisional or record.outcome is Outcome.LOST,
        "attempts count up from one": record.attempt >= 1,
        "history is older than the current attempt": all(a.attempt < record.attempt for a in record.attempts),
        "history is kept short": len(record.attempts) <= KEPT_ATTEMPTS,
        "retries stay within their limit": record.retries <= max(record.retry.limit, 0),
        "a released task waits for nobody": record.waiting_for is None or record.waits,
        "only a cancelled task had a parent that ended wrongly": record.unmet is None
        or record.outcome is Outcome.CANCELLED,
        "a claim is made on what was released": record.claim is None or record.released is not None,
    }
    return [text for text, holds in rules.items() if not holds]
