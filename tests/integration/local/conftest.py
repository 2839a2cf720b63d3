"""A stand-in stack in a folder of its own, and its certain end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from tests.integration.local import standin

from qme.executor.processes import Identity, identity_of
from qme.local import starting
from qme.local.control import StackStatus, status
from qme.local.layout import Layout, State, read_state
from qme.local.services import living
from qme.local.stack import Endpoint
from qme.settings import Settings


class Local:
    """The stack of one home, as tests use and break it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layout = Layout(settings.local_dir)
        self.recipe = standin.RECIPE
        self.said: list[str] = []
        self._connections: list[Client] = []

    async def start(self) -> Endpoint:
        """Find or start it."""
        return await starting.start(self.settings, say=self.said.append, recipe=self.recipe)

    async def connect(self) -> Client:
        """Open a connection with the stack's own credentials; closed with the stack."""
        creds = json.loads(self.layout.creds.read_text())
        connection = await nats.connect(self.state.url, user=creds["user"], password=creds["password"])
        self._connections.append(connection)
        return connection

    @property
    def state(self) -> State:
        """The state file's content."""
        state = read_state(self.layout)
        assert state is not None
        return state

    @property
    def status(self) -> StackStatus:
        """What `qme status` shows."""
        return status(self.settings)

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each service, 0 for one that does not run."""
        return standin.pids(self.state)

    def kill(self, name: str) -> None:
        """Kill the supervisor or a service, and see it gone."""
        pid = self.state.pid if name == "supervisor" else self.pids[name]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not runs(pid))

    async def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for connection in self._connections:
            await connection.close()
        for _ in range(2):
            state = read_state(self.layout)
            if state is None:
                return
            supervisor = Identity(state.pid, state.start_time, state.boot_id)
            for identity in (supervisor, *map(living, state.services)):
                if identity is not None and identity_of(identity.pid) == identity:
                    os.kill(identity.pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Tell whether there is a living process."""
    return identity_of(pid) is not None


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


async def soon(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for a condition while other coroutines go on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def command(home: Path) -> subprocess.Popen[str]:
    """Use the stand-in stack from a process of its own, as a command does."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.local.standin", str(home)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    """A stand-in stack that has not been started."""
    made = Local(Settings(home=tmp_path / "home", host="here"))
    yield made
    await made.end()


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Local]]:
    """Make stacks with settings of their own."""
    made: list[Local] = []

    def factory(**settings: object) -> Local:
        base = Settings(home=tmp_path / "home", host="here")
        made.append(Local(replace(base, **settings)))  # type: ignore[arg-type]
        return made[-1]

    yield factory
    for one in made:
        await one.end()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system with options."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    made: list[Path] = []

    def mounted(options: str) -> Path:
        place = tmp_path / f"mount{len(made)}"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
        made.append(place)
        return place

    yield mounted
    for place in made:
        subprocess.run(["umount", "-l", place], check=True)
