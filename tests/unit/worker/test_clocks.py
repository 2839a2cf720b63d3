"""Clocks that jump by hours under a worker: nothing is ended early because of it, and nobody counts as dead."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.worker.lab import Lab, now, until

from qme.bus.kv import Bucket
from qme.client.executors import heartbeats
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import Outcome


@pytest.mark.parametrize("jump", [3 * 3600.0, -3 * 3600.0])
async def test_a_time_limit_counts_no_jump_of_the_clock(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """A command taken up again has run for as long as it has run, not for what the clock says since its start."""
    gate = tmp_path / "gate"
    async with lab.worker():
        key = await lab.submit("sh", "-c", f"until [ -e {gate} ]; do sleep 0.02; done", timeout=600.0)
        await lab.begun(key)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    async with lab.worker():
        gate.touch()
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.SUCCESS, 0)


async def test_a_time_limit_holds_through_a_jump(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back by hours, the clock gives a command that was taken up again no more time than it has left."""
    async with lab.worker():
        key = await lab.submit("sleep", "600", timeout=1.0)
        await lab.begun(key)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3 * 3600.0)
    begun = time.monotonic()
    async with lab.worker():
        record = await lab.ended(key)
    assert record.outcome is Outcome.TIMEOUT
    assert time.monotonic() - begun < 15


async def test_a_worker_is_alive_whatever_its_clock_says(lab: Lab) -> None:
    """Its beats go by the bus server's clock; those that it stamps are for people."""
    bucket = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    for name, off in (("behind", -5.0), ("ahead", 5.0)):
        beat = Heartbeat(
            executor="shell",
            pool="lab",
            worker=name,
            host="h",
            pid=1,
            version="0",
            slots=1,
            active=0,
            started=now(),
            at=now() + timedelta(hours=off),
            interval=0.5,
        )
        await bucket.put(subjects.heartbeat_key("shell", "lab", name), beat, ttl=1)
    assert {beat.worker for beat in await heartbeats(lab.bus, "shell", "lab")} == {"behind", "ahead"}

    async def gone() -> bool:
        return not await heartbeats(lab.bus, "shell", "lab")

    await until(gone)
