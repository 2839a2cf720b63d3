"""Makes records as they stand in the bucket. Nothing of the dashboard's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from qme.bus.kv import Entry
from qme.contracts.tasks import TaskRecord

NOW = 1_800_000_000.0


def uuid_of(number: int) -> str:
    """The uuid of a test's task."""
    return f"01900000-0000-7000-8000-{number:012x}"


def entry(number: int, *, revision: int | None = None, **fields: Any) -> Entry[TaskRecord]:
    """A record with its revision; times are seconds."""
    told: dict[str, Any] = {
        "executor": "shell",
        "created": NOW,
        "command": f"echo {number}",
        "user": "ann",
        **fields,
    }
    data = {name: told.pop(name) for name in ("returncode", "output", "error", "jobid") if name in told}
    data |= told.pop("data", {})
    for name in ("created", "started", "finished"):
        if name in told:
            told[name] = datetime.fromtimestamp(told[name], UTC)
    if "outcome" in told:
        told.setdefault("status", "complete")
    told |= {"uid": f"{told['executor']}-{uuid_of(number)}", "pool": "u-ann", "data": data}
    record = TaskRecord.model_validate(told)
    return Entry(str(record.key), record, revision or number + 1)
