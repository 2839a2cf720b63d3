"""The keeper dies between two steps of a command's life: whatever it had come to, nothing is ever started twice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from qme.executor.attempts import AttemptDir
from qme.executor.commands import AlreadyStarted, Exit, KeeperError, Lost

from .conftest import Lab, keeper_pid, until

DYING = Path(__file__).with_name("dying_keeper.py")
ON_THE_WAY = Lost("the keeper died while it started the command: whether it ran is unknown")
RUNNING = Lost("the keeper died before the command ended: its exit status is unknown")


async def die_at(lab: Lab, point: str, script: str) -> AttemptDir:
    """Have a command started by a keeper that dies there; the next keeper is a good one."""
    folder = lab.spool.attempt("00000000-0000-7000-8000-000000000001", 1)
    argv = list(lab.keeper._link._argv)
    program = next(number for number, word in enumerate(argv) if Path(word).name == "keeper")
    lab.keeper._link._argv[program : program + 1] = [str(DYING), point]
    with suppress(KeeperError):
        await lab.again(folder, "sh", "-c", script)
    await lab.keeper.close()
    await until(lambda: keeper_pid(lab.spool) is None)
    lab.keeper._link._argv[:] = argv
    return folder


@pytest.mark.parametrize(
    ("point", "ran", "end"),
    [
        ("token", 0, ON_THE_WAY),
        ("spawned", 1, ON_THE_WAY),
        ("noted", 1, RUNNING),
        ("reaped", 1, RUNNING),
        ("recorded", 1, 7),
    ],
)
async def test_the_keeper_dies_at(lab: Lab, tmp_path: Path, point: str, ran: int, end: Lost | int) -> None:
    """A command that runs is waited for, how it ended is known or said to be unknown, and it is not started again."""
    marks = tmp_path / "marks"
    folder = await die_at(lab, point, f"echo x >> {marks}; sleep 0.3; exit 7")
    assert await lab.again(folder, "sh", "-c", f"echo x >> {marks}") == AlreadyStarted()
    found = await lab.wait(folder)
    assert (found.returncode if isinstance(found, Exit) else found) == end
    assert (len(marks.read_text().splitlines()) if marks.exists() else 0) == ran
    assert lab.members(folder) == []
