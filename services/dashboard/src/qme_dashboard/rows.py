"""From a task record to the row that the dashboard keeps of it. Pure; no database, no drawing."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from qme.bus.kv import Corrupt
from qme.client import searching
from qme.contracts.output import NAMES, STDERR
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, TaskRecord

#: characters that are kept of a task for the search, of its command for tables, and of the last line of its stderr
SEARCHED, COMMAND, COMPLAINT = 16_384, 2_000, 400

#: SQLite holds numbers below this; what an executor exports may be any
_NUMBERS = 1 << 63

#: columns of the table, in its order
COLUMNS = (
    "uuid",
    "uid",
    "executor",
    "pool",
    "user",
    "command",
    "message",
    "labels",
    "status",
    "outcome",
    "grp",
    "reason",
    "attempt",
    "worker",
    "created",
    "started",
    "finished",
    "returncode",
    "complaint",
    "bundle",
    "name",
    "after",
    "haystack",
    "revision",
    "generation",
)

#: how tasks are counted on tiles: every bad ending is a failure, but for those that somebody wished or nobody knows
GROUPS = ("queued", "running", "success", "failure", "cancelled", "lost", "unreadable")

Row = tuple[Any, ...]


def row_of(record: TaskRecord, revision: int, generation: int) -> Row:
    """Give the row of a record at a revision of the bucket."""
    data = record.data
    code = data.get("returncode")
    return (
        record.uuid,
        record.uid,
        record.executor,
        record.pool,
        record.user,
        record.command[:COMMAND],
        record.message,
        json.dumps(record.labels, sort_keys=True),
        record.status.value,
        record.outcome.value if record.outcome else None,
        group_of(record),
        record.reason,
        record.attempt,
        record.worker,
        _seconds(record.created),
        _seconds(record.started),
        _seconds(record.finished),
        code if isinstance(code, int) and abs(code) < _NUMBERS else None,
        complaint(data.get(NAMES[STDERR].excerpt)),
        record.group,  # "bundle", since "group" is SQL's own word
        record.name,
        _after(record),
        "\n".join(searching.texts(record))[:SEARCHED],
        revision,
        generation,
    )


def _after(record: TaskRecord) -> str | None:
    """Give what a task waits for, or has waited for, as JSON: how many, and the first of them."""
    if record.after is None:
        return None
    return json.dumps(
        [record.after.count, [[parent.uuid, parent.on.value] for parent in record.after.parents]]
    )


def unreadable(item: Corrupt, generation: int) -> Row:
    """Give the row of a record that can't be read, so that somebody sees it and can clear it."""
    key = TaskKey.parse(item.key)
    row = dict.fromkeys(COLUMNS)
    row |= {"uuid": key.uuid, "uid": key.taskid, "executor": key.executor, "pool": key.pool, "user": ""}
    row |= {
        "command": "",
        "labels": "{}",
        "status": "unreadable",
        "grp": "unreadable",
        "reason": item.problem,
    }
    row |= {"attempt": 0, "created": 0.0, "haystack": f"{key.taskid}\n{item.problem}"}
    row |= {"revision": item.revision, "generation": generation}
    return tuple(row.values())


def group_of(record: TaskRecord) -> str:
    """Name the tile that counts a task."""
    match record.outcome:
        case None:
            return record.status.value
        case Outcome.SUCCESS | Outcome.CANCELLED | Outcome.LOST:
            return record.outcome.value
    return "failure"


def complaint(excerpt: Any) -> str | None:
    """Give the last line that says something of an excerpt of stderr."""
    lines = excerpt if isinstance(excerpt, list) else []
    for line in reversed(lines):
        if isinstance(line, str) and line.strip():
            return line.strip()[:COMPLAINT]
    return None


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
