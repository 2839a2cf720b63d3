"""A spool without room: its worker takes nothing, and what ran meanwhile says that its output may lack something."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.worker.lab import Lab, until

from qme.client.executors import heartbeats
from qme.contracts.output import INCOMPLETE
from qme.contracts.tasks import Outcome
from qme.worker.ending import FULL
from qme.worker.room import LEAST, NONE, Room


@dataclass
class Disk:
    """What a disk says of itself."""

    f_bavail: int = LEAST
    f_frsize: int = 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk under every spool."""
    one, real = Disk(), os.statvfs
    monkeypatch.setattr("os.statvfs", lambda path: one if "spool" in str(path) else real(path))
    return one


@pytest.mark.parametrize(
    ("left", "enough", "full"), [(LEAST, True, False), (LEAST - 1, False, False), (NONE - 1, False, True)]
)
def test_room(disk: Disk, left: int, enough: bool, full: bool) -> None:
    """Little room keeps new tasks away; only none at all casts doubt on the output of those that run."""
    room = Room(Path("/spool"))
    disk.f_bavail = left
    assert room.look() is enough
    assert room.was_full_since(0.0) is full
    assert not room.was_full_since(float("inf"))


async def test_a_command_that_ran_on_a_full_disk_says_so(lab: Lab, disk: Disk, tmp_path: Path) -> None:
    """Also where it ended with success; one that came after is not in doubt."""

    async def paused() -> bool:
        return [beat.paused for beat in await heartbeats(lab.bus)] == ["the disk of its spool is full"]

    async def goes_on() -> bool:
        return [beat.paused for beat in await heartbeats(lab.bus)] == [None]

    async with lab.worker():
        gate = tmp_path / "gate"
        key = await lab.submit("sh", "-c", f"echo hi; until [ -e {gate} ]; do sleep 0.02; done")
        await lab.begun(key)
        disk.f_bavail = 0
        await until(paused)
        disk.f_bavail = LEAST
        await until(goes_on)
        gate.touch()
        record = await lab.ended(key)
        assert (record.outcome, record.data[INCOMPLETE], record.reason) == (Outcome.SUCCESS, True, FULL)
        later = await lab.ended(await lab.submit("echo", "hi"))
        assert (later.outcome, later.reason, INCOMPLETE in later.data) == (Outcome.SUCCESS, None, False)
