"""A site on a real NATS server: a submitter that stays through everything, and workers as processes of their own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.integration.nats_server import NatsServer
from tests.integration.test_worker_killed import start
from tests.unit.worker.lab import USER, Lab

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import TaskRecord
from qme_submitter.process import Submitter


class Site:
    """A server whose store can be put back, a submitter that stays, and workers."""

    def __init__(self, server: NatsServer, lab: Lab) -> None:
        self.server = server
        self.lab = lab
        self._store = lab.home / "nats" / "js"
        self._kept = lab.home / "kept"

    async def keep(self) -> None:
        """Remember the store as it is now."""
        self.server.kill()
        shutil.copytree(self._store, self._kept)
        await self.server.start()

    async def set_back(self) -> None:
        """Let the server go on from the store that was remembered, or from none."""
        self.server.kill()
        shutil.rmtree(self._store)
        if self._kept.exists():
            shutil.copytree(self._kept, self._store)
        await self.server.start()

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return start(self.server, self.lab, "never")

    async def submit_gated(self, **spec: Any) -> tuple[TaskKey, Path]:
        """Submit a command that counts its starts and ends when a file appears."""
        gate = self.lab.home / "gate"
        key = await self.lab.submit_marked(f"until [ -e {gate} ]; do sleep 0.1; done; exit 3", **spec)
        return key, gate

    async def record(self, key: TaskKey) -> TaskRecord | None:
        """Read a record, which may be gone."""
        entry = await self.lab.records.get(str(key), leader=True)
        return entry.value if entry else None


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Site]:
    """A site in a folder, ended with everything in it."""
    server = NatsServer(folder / "nats")
    await server.start()
    bus = await server.connect(USER)
    lab = Lab(None, bus, folder)
    async with _submitter(server, lab):
        await lab.set_up()
        yield Site(server, lab)
        await lab.clean_up()
    await bus.close()
    server.kill()


@asynccontextmanager
async def _submitter(server: NatsServer, lab: Lab) -> AsyncIterator[None]:
    bus = await server.connect("submitter")
    quick = replace(lab.settings, janitor_interval=0.5, janitor_grace=0.5, lost_after=1.0)
    stop_it, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(Submitter(bus, quick).run(stop_it, ready))
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield
    finally:
        stop_it.set()
        await asyncio.wait_for(running, 20)
        await bus.close()
