"""A spool, its keeper, and short words for running something through them. All processes are real."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from qme.executor.attempts import AttemptDir
from qme.executor.commands import Exit, Keeper, Lost, Started
from qme.executor.environment import build_environment
from qme.executor.keeper import proc
from qme.executor.spool import Spool


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- what it waits for is done by other processes
            await asyncio.sleep(0.005)


def keeper_pid(spool: Spool) -> int | None:
    """Find the keeper of a spool."""
    for row in proc.snapshot():
        words: list[bytes] = []
        with suppress(OSError):  # it is gone
            words = Path(f"/proc/{row.pid}/cmdline").read_bytes().split(b"\0")
        if str(spool.path).encode() in words and b"-S" in words:
            return row.pid
    return None


class Lab:
    """One spool with its keeper; each command gets a task of its own."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.keeper = Keeper(spool, idle_seconds=0.5, sync=False)

    async def start(self, *argv: str, cwd: Path = Path("/"), **more: Any) -> AttemptDir:
        """Start a command as attempt 1 of a new task."""
        folder = self.spool.attempt(str(uuid.uuid4()), 1)
        result = await self.again(folder, *argv, cwd=cwd, **more)
        assert isinstance(result, Started)
        return folder

    async def again(self, folder: AttemptDir, *argv: str, cwd: Path = Path("/"), **more: Any) -> object:
        """Ask for the start of this very attempt, whatever happened to it before."""
        given = more.pop("env", {"PATH": os.environ["PATH"]})
        env = build_environment(given, {}, taskid="t", uuid=folder.uuid, attempt=folder.attempt)
        return await self.keeper.start(folder.uuid, folder.attempt, argv, env=env, cwd=cwd, **more)

    async def wait(self, folder: AttemptDir) -> Exit | Lost:
        """Wait for its end."""
        async with asyncio.timeout(20):
            return await self.keeper.wait(folder.uuid, folder.attempt)

    async def ended(self, folder: AttemptDir) -> Exit:
        """Wait for its end, which has to be known."""
        end = await self.wait(folder)
        assert isinstance(end, Exit), end
        return end

    async def run(self, *argv: str, **more: Any) -> tuple[Exit, str, str]:
        """Run a command to its end: exit record, output, error output."""
        folder = await self.start(*argv, **more)
        return await self.ended(folder), folder.stdout.read_text(), folder.stderr.read_text()

    async def end(self, folder: AttemptDir, grace: float = 5.0) -> list[int]:
        """End its tree."""
        async with asyncio.timeout(20):
            return await self.keeper.end(folder.uuid, folder.attempt, grace)

    def members(self, folder: AttemptDir) -> list[int]:
        """Find the living processes of an attempt by their marker."""
        return [row.pid for row in proc.snapshot() if row.task_id == folder.path.name]

    async def clean_up(self) -> None:
        """Leave no process behind."""
        marked = {row.task_id for row in proc.snapshot()}
        for folder in self.spool:
            if folder.path.name in marked or (folder.uuid, folder.attempt) in self.keeper.running():
                await self.end(folder, 0)
        await self.keeper.quit()
        await self.keeper.close()
        await until(lambda: keeper_pid(self.spool) is None)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path / "spool")


@pytest.fixture
async def lab(spool: Spool) -> AsyncIterator[Lab]:
    """A spool with a keeper, and nothing left of it afterwards."""
    lab = Lab(spool)
    yield lab
    await lab.clean_up()
