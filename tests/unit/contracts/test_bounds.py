"""What a stored document may hold, whoever wrote it: everything that is read of it can be compared and counted with."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import TaskRecord

_UUID = "01900000-0000-7000-8000-000000000001"
_RECORD = {
    "uid": f"shell-{_UUID}",
    "executor": "shell",
    "pool": "default",
    "command": "true",
    "user": "ann",
    "created": "2026-05-01T12:00:00Z",
}
_BEAT = {
    "executor": "shell",
    "pool": "default",
    "worker": "w1",
    "host": "node1",
    "pid": 7,
    "version": "1",
    "slots": 2,
    "active": 0,
    "started": "2026-05-01T12:00:00Z",
    "at": "2026-05-01T12:00:00+02:00",
    "interval": 10,
}


@pytest.mark.parametrize(
    "odd",
    [
        {"created": "2026-05-01T12:00:00"},
        {"finished": "0001-01-01T00:00:00+14:00"},
        {"finished": "9999-12-31T23:59:59-12:00"},
        {"released": "2026-05-01"},
        {"attempt": 1 << 70},
        {"attempt": -1},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_compared_with_others_is_none(odd: dict[str, object]) -> None:
    """A time without a zone, or one that no zone can hold, and a number without measure make a record unreadable."""
    TaskRecord.model_validate_json(json.dumps(_RECORD))
    with pytest.raises(ValidationError):
        TaskRecord.model_validate_json(json.dumps({**_RECORD, **odd}))


@pytest.mark.parametrize("odd", [{"at": "2026-05-01T12:00:00"}, {"active": 10**400}, {"slots": -1}], ids=str)
def test_a_heartbeat_that_nobody_can_show_is_none(odd: dict[str, object]) -> None:
    """The same holds for signs of life, which tables of all workers show."""
    Heartbeat.model_validate_json(json.dumps(_BEAT))
    with pytest.raises(ValidationError):
        Heartbeat.model_validate_json(json.dumps({**_BEAT, **odd}))
