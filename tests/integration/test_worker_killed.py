"""kill -9 of a worker at every point of a task's life, on a real NATS server: one start, and the right end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.unit.worker.lab import Lab, until

from qme.contracts.tasks import Outcome
from qme.worker.spooled import is_reported

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]

ROOT = Path(__file__).parents[2]


def start(server: NatsServer, lab: Lab, point: str, *spools: str) -> subprocess.Popen[bytes]:
    """Start a worker that dies at a point."""
    argv = [sys.executable, "-m", "tests.integration.dying_worker", server.url, str(lab.home), point, *spools]
    log = (lab.home / "worker.log").open("ab")
    with log:
        return subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)


async def stop(process: subprocess.Popen[bytes]) -> float:
    """Send TERM and wait; the seconds that it took."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 20)
    return time.monotonic() - begin


POINTS = [
    "before:$KV.qme_tasks:1",  # the claim
    "after:$KV.qme_tasks:1",
    "execute",
    "token",
    "before:qme.logs:1",
    "after:qme.logs:1",
    "before:qme.logs:2",
    "after:qme.logs:3",
    "before:$KV.qme_tasks:2",  # progress or end
    "after:$KV.qme_tasks:2",
    "after:$KV.qme_tasks:3",
]


@pytest.mark.parametrize("point", POINTS)
async def test_kill_9_at(server: NatsServer, lab: Lab, point: str) -> None:
    """The command is started once, its output is whole, its code is right."""
    key = await lab.submit_marked("for i in 1 2 3; do echo $i; sleep 0.5; done; exit 5")
    dying = start(server, lab, point)
    assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    worker = start(server, lab, "never")
    try:
        record = await lab.ended(key)
        await until(lambda: _reported(lab, key.uuid))
    finally:
        seconds = await stop(worker)
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 5)
    assert await lab.output(key) == b"1\n2\n3\n"
    assert record.data["output"] == ["1\n", "2\n", "3\n"]
    assert lab.starts(key) == 1
    assert seconds < 3
    assert worker.returncode == 0


@pytest.mark.parametrize("point", ["before:$KV.qme_tasks:1", "after:$KV.qme_tasks:1"])
async def test_kill_9_with_another_worker_there(server: NatsServer, lab: Lab, point: str) -> None:
    """What a dead worker had pulled is another's in time; what it had claimed is its own, whoever gets the message."""
    key = await lab.submit_marked("echo done")
    dying = start(server, lab, point)
    assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    workers = [start(server, lab, "never", str(lab.home / "local" / "elsewhere"))]
    try:
        await until(lambda: _queued(lab))
        if point.startswith("after"):
            assert not (await lab.entry(key)).value.ended
            assert lab.starts(key) == 0
            workers.append(start(server, lab, "never"))
        record = await lab.ended(key)
    finally:
        for worker in workers:
            await stop(worker)
    assert (record.outcome, lab.starts(key)) == (Outcome.SUCCESS, 1)
    assert (record.worker == lab.spool.worker_id) == point.startswith("after")


async def _queued(lab: Lab) -> bool:
    return await lab.queued() == 0


async def _reported(lab: Lab, uuid: str) -> bool:
    return is_reported(lab.spool.attempt(uuid, 1))


async def test_the_server_is_killed_while_a_command_runs(server: NatsServer, lab: Lab) -> None:
    """Through a kill -9 of NATS the command runs on, and all of its output and its end arrive."""
    worker = start(server, lab, "never")
    try:
        key = await lab.submit_marked("for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done")
        await lab.running(key)
        server.kill()
        await asyncio.sleep(1.5)
        await server.start()
        record = await lab.ended(key)
    finally:
        await stop(worker)
    assert record.outcome is Outcome.SUCCESS
    assert await lab.output(key) == b"1\n2\n3\n4\n5\n6\n"
    assert lab.starts(key) == 1


async def test_many_kills(server: NatsServer, lab: Lab) -> None:
    """Twenty tasks through a worker that is killed again and again: each is started once and ends well."""
    keys = [await lab.submit_marked("sleep 0.2; echo done") for _ in range(20)]
    for _ in range(4):
        worker = start(server, lab, "never")
        await asyncio.sleep(1.3)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    worker = start(server, lab, "never")
    try:
        records = [await lab.ended(key) for key in keys]
    finally:
        await stop(worker)
    assert [record.outcome for record in records] == [Outcome.SUCCESS] * 20
    assert [lab.starts(key) for key in keys] == [1] * 20
    assert [await lab.output(key) for key in keys] == [b"done\n"] * 20
