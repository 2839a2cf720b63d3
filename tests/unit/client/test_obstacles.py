"""What keeps a task waiting: said where somebody can mend it, and not where it is the usual course of things."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from qme.client.obstacles import sentence
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import Claim, TaskRecord

NOW = datetime(2026, 1, 2, tzinfo=UTC)
UID = "shell-01990000-aaaa-7000-8000-00000000aaaa"


def beat(worker: str, paused: str | None = None) -> Heartbeat:
    """A worker's sign of life."""
    return Heartbeat(
        executor="shell",
        pool="lab",
        worker=worker,
        host="h",
        pid=1,
        version="0",
        slots=1,
        active=0,
        started=NOW,
        at=NOW,
        interval=10.0,
        paused=paused,
    )


def record(*, released: bool = True, claimed_by: str | None = None) -> TaskRecord:
    """A task that has not ended."""
    return TaskRecord(
        uid=UID,
        executor="shell",
        pool="lab",
        command="true",
        user="ann",
        created=NOW,
        released=NOW if released else None,
        claim=Claim(worker=claimed_by, nonce="n", at=NOW) if claimed_by else None,
    )


@pytest.mark.parametrize(
    ("task", "workers", "said"),
    [
        (record(), [], f"{UID} waits: no worker of shell is alive"),
        (record(), [beat("w")], None),
        (record(), [beat("w", "full"), beat("v")], None),
        (record(), [beat("w", "full"), beat("v", "full")], f"{UID} waits: shell takes nothing now, full"),
        (record(released=False), [], None),
        (record(claimed_by="w"), [beat("w")], None),
        (record(claimed_by="w"), [], None),
        (record(claimed_by="w"), [beat("v", "full")], None),
        (record(claimed_by="w"), [beat("w", "full")], f"{UID}: its worker, w, says: full"),
    ],
)
def test_what_is_said(task: TaskRecord, workers: list[Heartbeat], said: str | None) -> None:
    """Nobody there, everybody paused, its own worker paused; all slots taken or a retry's delay is nothing to say."""
    assert sentence(task, workers) == said
