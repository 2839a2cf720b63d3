"""Real workers that get a TERM on a real NATS server, as a restart, an upgrade or a shutdown sends it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.unit.worker.lab import POOL, USER, Lab, until
from tests.unit.worker.test_leaving import LONG, says_draining, until_told

from qme.bus import topology
from qme.contracts.tasks import Outcome

pytestmark = [
    pytest.mark.nats,
    pytest.mark.timeout(180),
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]


@pytest.fixture(autouse=True)
async def _messages_come_again_late(lab: Lab) -> None:
    """Nobody can be served by waiting for that."""
    await lab.bus.ensure_consumer(topology.consumer("shell", POOL, ack_wait=LONG))


def start(
    server: NatsServer, lab: Lab, *words: str, local_dir: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `qme worker shell` as a service manager would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}
    env = kept | {
        "QME_HOME": str(lab.home),
        "QME_SITE_CONFIG": str(lab.home / "no-site-config"),
        "QME_LOCAL_DIR": str(local_dir or lab.settings.local_dir),
        "QME_NATS_URL": server.url,
        "QME_USER": USER,
        "QME_SHELL_SLOTS": "4",
    }
    qme = str(Path(sys.executable).with_name("qme"))
    log = (lab.home / "worker.log").open("ab")
    with log:
        return subprocess.Popen([qme, "worker", "shell", *words], env=env, stdout=log, stderr=log)


async def left(worker: subprocess.Popen[bytes]) -> int:
    """Wait for a worker's end; its exit code."""
    return await asyncio.to_thread(worker.wait, 30)


async def test_drain_leaves_new_tasks_to_others(server: NatsServer, lab: Lab) -> None:
    """With --drain what runs is finished; what comes meanwhile is another worker's, though a pull was standing."""
    draining = start(server, lab, "--drain")
    other: subprocess.Popen[bytes] | None = None
    try:
        running = await lab.submit_marked(f"{until_told(lab)}; exit 3")
        await lab.begun(running)
        draining.send_signal(signal.SIGTERM)
        await says_draining(lab)
        late = await lab.submit_marked("true")
        other = start(server, lab, local_dir=lab.home / "local" / "elsewhere")
        assert (await lab.ended(late)).worker != lab.spool.worker_id
        (lab.home / "go").touch()
        assert await left(draining) == 0
        record = await lab.ended(running)
        assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 3)
        assert [lab.starts(key) for key in (running, late)] == [1, 1]
    finally:
        for worker in (draining, other):
            if worker is not None:
                worker.terminate()
                await left(worker)


async def test_restarts_lose_nothing(server: NatsServer, lab: Lab) -> None:
    """Through four restarts, as an upgrade does them, twenty tasks are started once each and end well."""
    keys = [await lab.submit_marked("sleep 0.2; echo done") for _ in range(20)]
    for number in range(1, 5):
        worker = start(server, lab)
        await until(lambda number=number: _were_ready(lab, number))  # type: ignore[misc]
        await asyncio.sleep(0.4)
        worker.terminate()
        assert await left(worker) == 0
    worker = start(server, lab)
    try:
        records = [await lab.ended(key) for key in keys]
    finally:
        worker.terminate()
        await left(worker)
    assert [record.outcome for record in records] == [Outcome.SUCCESS] * 20
    assert [lab.starts(key) for key in keys] == [1] * 20
    assert [await lab.output(key) for key in keys] == [b"done\n"] * 20


async def _were_ready(lab: Lab, number: int) -> bool:
    return (lab.home / "worker.log").read_text().count("worker.ready") == number
