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
    fields = {"executor": "shell", "created": NOW, "command": f"echo {number}", "user": "ann"} | fields
    data = {name: fields.pop(name) for name in ("returncode", "output", "error", "jobid") if name in fields}
    data |= fields.pop("data", {})
    for name in ("created", "started", "finished"):
        if name in fields:
            fields[name] = datetime.fromtimestamp(fields[name], UTC)
    if "outcome" in fields:
        fields.setdefault("status", "complete")
    fields |= {"uid": f"{fields['executor']}-{uuid_of(number)}", "pool": "u-ann", "data": data}
    record = TaskRecord.model_validate(fields)
    return Entry(str(record.key), record, revision or number + 1)
