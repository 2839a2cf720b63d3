"""A real NATS server that comes back with an older store, or none, under living workers and submitters."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.integration.test_worker_killed import start, stop
from tests.unit.worker.lab import USER, Lab, until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, RetryPolicy, Status, TaskRecord
from qme.errors import QmeError
from qme_submitter.process import Submitter

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]


class Site:
    """A server whose store can be put back, a submitter that stays, and workers."""

    def __init__(self, folder: Path, server: NatsServer, lab: Lab) -> None:
        self.server = server
        self.lab = lab
        self._store = folder / "nats" / "js"
        self._kept = folder / "kept"

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

    async def submit_gated(self) -> tuple[TaskKey, Path]:
        """Submit a command that counts its starts and ends when a file appears."""
        gate = self.lab.home / "gate"
        key = await self.lab.submit_marked(f"until [ -e {gate} ]; do sleep 0.1; done; exit 3")
        return key, gate

    async def record(self, key: TaskKey) -> TaskRecord | None:
        """Read a record, which may be gone."""
        entry = await self.lab.records.get(str(key), leader=True)
        return entry.value if entry else None


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A bus, set up by a submitter that runs all the time."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    bus = await server.connect(USER)
    lab = Lab(None, bus, tmp_path)
    async with _submitter(server, lab):
        await lab.set_up()
        yield Site(tmp_path, server, lab)
        await lab.clean_up()
    await bus.close()
    server.kill()


@asynccontextmanager
async def _submitter(server: NatsServer, lab: Lab) -> AsyncIterator[None]:
    bus = await server.connect("submitter")
    quick = replace(lab.settings, janitor_interval=0.5, janitor_grace=0.5)
    stop_it, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(Submitter(bus, quick).run(stop_it, ready))
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield
    finally:
        stop_it.set()
        await asyncio.wait_for(running, 20)
        await bus.close()


async def test_claims_that_the_bus_forgot(site: Site) -> None:
    """What runs is its worker's again, what ended ends again as it did, and nothing is started a second time."""
    lab = site.lab
    runs, gate = await site.submit_gated()
    quick = await lab.submit_marked("exit 4")
    await site.keep()
    worker = site.worker()
    try:
        await lab.record(quick, lambda record: record.outcome is Outcome.FAILED)
        await lab.running(runs)
        await site.set_back()
        again = await lab.record(runs, lambda record: record.status is Status.RUNNING)
        assert again.claim is not None
        assert (await lab.ended(quick)).data["returncode"] == 4
        gate.touch()
        assert (await lab.ended(runs)).data["returncode"] == 3
        assert (await lab.ended(await lab.submit("true"))).outcome is Outcome.SUCCESS
    finally:
        await stop(worker)
    assert (lab.starts(runs), lab.starts(quick)) == (1, 1)


async def test_an_end_that_the_bus_forgot(site: Site) -> None:
    """The record says again that it runs, and no message will ever come: its worker tells the end once more."""
    lab = site.lab
    worker = site.worker()
    try:
        runs, gate = await site.submit_gated()
        await lab.running(runs)
        await site.keep()
        gate.touch()
        first = await lab.ended(runs)
        await until(lambda: lab.reported(runs))
        await site.set_back()
        assert (await lab.ended(runs)).finished == first.finished
    finally:
        await stop(worker)
    assert lab.starts(runs) == 1


async def test_a_retry_that_the_bus_forgot(site: Site) -> None:
    """Both attempts are known to the worker's spool: neither is started again, and the second one's end stands."""
    lab = site.lab
    key = await lab.submit_marked("exit 4", retry=RetryPolicy(limit=1, delay=0.2))
    await site.keep()
    worker = site.worker()
    try:
        await lab.ended(key)
        await site.set_back()
        record = await lab.ended(key)
    finally:
        await stop(worker)
    assert (record.attempt, record.outcome, record.data["returncode"]) == (2, Outcome.FAILED, 4)
    assert [line.returncode for line in record.attempts] == [4]
    assert lab.starts(key) == 2


async def test_a_bus_that_was_made_anew(site: Site) -> None:
    """It has forgotten its tasks, and what runs ends unseen; new ones are taken and run as before."""
    lab = site.lab
    worker = site.worker()
    try:
        runs, gate = await site.submit_gated()
        await lab.running(runs)
        await site.set_back()
        key = await until(lambda: _submitted(lab))
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
        gate.touch()
        await until(lambda: lab.reported(runs))
        assert await site.record(runs) is None
    finally:
        await stop(worker)
    assert lab.starts(runs) == 1


async def _submitted(lab: Lab) -> TaskKey | None:
    try:
        return await lab.submit("true")
    except QmeError:  # until the submitter has set the bus up again
        return None
