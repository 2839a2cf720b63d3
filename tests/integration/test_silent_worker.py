"""A worker process that stops for longer than `lost_after`, on a real NATS server with a real submitter."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.integration.standing import standing
from tests.integration.test_worker_killed import stop

from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.tasks import Outcome, RetryPolicy, Status
from qme.exporter import catalog
from qme.exporter.totals import Totals

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]


async def test_stopped_lost_and_back(tmp_path: Path) -> None:
    """Lost as a guess, without a retry; back, the task runs as before, and ends once, as it ended."""
    async with standing(tmp_path) as site:
        worker = site.worker()
        try:
            key, gate = await site.submit_gated(retry=RetryPolicy(limit=1, delay=0.1, on=(Outcome.LOST,)))
            before = await site.lab.running(key)
            worker.send_signal(signal.SIGSTOP)
            lost = await site.lab.ended(key)
            assert (lost.status, lost.provisional, lost.attempt) == (Status.LOST, True, 1)
            assert lost.reason is not None
            assert str(before.worker) in lost.reason
            worker.send_signal(signal.SIGCONT)
            back = await site.lab.record(key, lambda record: record.status is Status.RUNNING)
            assert (back.worker, back.data["pid"], back.corrected) == (
                before.worker,
                before.data["pid"],
                True,
            )
            gate.touch()
            done = await site.lab.ended(key)
        finally:
            worker.send_signal(signal.SIGCONT)
            await stop(worker)
        assert (done.outcome, done.data["returncode"], done.attempt) == (Outcome.FAILED, 3, 1)
        assert site.lab.starts(key) == 1
        assert await counted(site.lab.bus, key.uuid) == {"finished lost": 1, "corrected failed": 1}


async def counted(bus: Bus, uuid: str) -> dict[str, int]:
    """What the exporter makes of the audit trail of a task, once that tells of a correction."""
    async with asyncio.timeout(30):
        while True:
            totals = Totals()
            async for event in bus.read(subjects.EVENTS, subjects.event_filter(uuid)):
                totals.count(event)
            if any(count for _, count in totals.counts(catalog.CORRECTED)):
                break
            await asyncio.sleep(0.1)
    return {
        " ".join((metric.name.removeprefix("qme_").split("_", 1)[1], *labels[2:])): count
        for metric in catalog.COUNTERS
        for labels, count in totals.counts(metric)
        if count
    }


async def test_killed_lost_and_restarted(tmp_path: Path) -> None:
    """The next worker on that spool finds how the command ended meanwhile, which was no loss at all."""
    async with standing(tmp_path) as site:
        worker = site.worker()
        key, gate = await site.submit_gated()
        await site.lab.running(key)
        worker.kill()
        worker.wait()
        assert (await site.lab.ended(key)).provisional
        gate.touch()
        worker = site.worker()
        try:
            done = await site.lab.record(key, lambda record: record.outcome is Outcome.FAILED)
        finally:
            await stop(worker)
        assert (done.data["returncode"], done.corrected, done.provisional) == (3, True, False)
        assert site.lab.starts(key) == 1
