"""Resources on a real NATS server, with workers that are processes of their own, and die."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
from collections import defaultdict

import pytest
from tests.integration.nats_server import NatsServer
from tests.integration.test_worker_killed import start, stop
from tests.unit.worker.lab import Lab

from qme.contracts.resources import Resources

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]

CPUS = 3


async def test_two_workers_never_give_more_than_they_have(
    server: NatsServer, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty tasks of one to three cpus, one worker killed and started again and again; the commands say what ran."""
    monkeypatch.setenv("CPUS", str(CPUS))
    monkeypatch.setenv("SLOTS", "8")
    clock = "cut -d' ' -f1 /proc/uptime"
    wishes = {}
    for number in range(20):
        cpus = 1 + number % CPUS
        wishes[await lab.submit_marked(f"{clock}; sleep 0.4; {clock}", resources=Resources(cpus=cpus))] = cpus
    elsewhere = str(lab.home / "local" / "elsewhere" / "spool" / "shell")
    steady = start(server, lab, "never", elsewhere)
    shaken: subprocess.Popen[bytes] | None = None
    try:
        for _ in range(3):
            shaken = start(server, lab, "never")
            await asyncio.sleep(1.2)
            os.kill(shaken.pid, signal.SIGKILL)
            shaken.wait()
        shaken = start(server, lab, "never")
        records = {key: await lab.ended(key) for key in wishes}
    finally:
        for worker in filter(None, (steady, shaken)):
            await stop(worker)
    ran: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for key, record in records.items():
        assert lab.starts(key) == 1
        begin, end = map(float, (await lab.output(key)).split())
        ran[str(record.worker)].append((begin, end, wishes[key]))
    assert len(ran) == 2
    for spans in ran.values():
        for at in itertools.chain.from_iterable((begin, end) for begin, end, _ in spans):
            assert sum(cpus for begin, end, cpus in spans if begin <= at < end) <= CPUS


async def test_a_big_task_has_its_turn(server: NatsServer, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """While small ones keep coming: on the real bus too, its message is kept instead of sent round."""
    monkeypatch.setenv("CPUS", "4")
    monkeypatch.setenv("SLOTS", "8")
    worker = start(server, lab, "never")
    try:
        small = [await lab.submit_marked("sleep 0.5", resources=Resources(cpus=1)) for _ in range(6)]
        big = await lab.submit_marked("sleep 0.1", resources=Resources(cpus=4))
        small += [await lab.submit_marked("sleep 0.5", resources=Resources(cpus=1)) for _ in range(20)]
        started = (await lab.ended(big)).started
        assert started is not None
        records = [await lab.ended(key) for key in small]
    finally:
        await stop(worker)
    assert sum(record.started < started for record in records if record.started) <= 6 + 4
