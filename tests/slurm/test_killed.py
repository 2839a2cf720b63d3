"""kill -9 of a Slurm worker at every point, and a controller that hangs: one job for each task, and its true end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress

import pytest
from tests.integration.nats_server import NatsServer
from tests.slurm.workers import Workers
from tests.unit.worker.lab import USER, until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status
from qme.errors import NotFound

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]

#: tasks in the test of many kills; `make soak` has more
MANY = int(os.environ.get("QME_TEST_JOBS", "20"))


async def has(workers: Workers, key: TaskKey, words: str) -> bool:
    """The record's reason holds these words."""
    return words in ((await workers.lab.entry(key)).value.reason or "")


POINTS = [
    "execute",
    "intent",
    "sbatch:0.002",
    "sbatch:0.02",
    "answered",
    "noted",
    "polled:1",
    "polled:3",
]


@pytest.mark.parametrize("point", POINTS)
async def test_kill_9_at(workers: Workers, point: str) -> None:
    """One job is submitted, its output is whole, its code is right."""
    key = await workers.submit("--wrap", "for i in 1 2 3; do echo $i; sleep 0.5; done; exit 5")
    dying = workers.start(point)
    assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    async with workers.worker():
        (record,) = await workers.ended([key])
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 5)
    assert await workers.lab.output(key) == b"1\n2\n3\n"
    found = workers.jobs(key)
    assert [str(one.job) for one in found] == [record.data["jobid"]]


@pytest.mark.parametrize("setting", ["sbatch_timeout=7", "sbatch_timeout=2"])
async def test_a_controller_that_hangs_during_sbatch(workers: Workers, setting: str) -> None:
    """An sbatch fails, or is killed, after its job was taken: that is found by its marker."""
    with workers.slurm.hung("slurmctld"):
        key = await workers.submit("--wrap", "echo once")
        process = workers.start("never", setting)
        await until(lambda: has(workers, key, "Slurm can't be asked"), 40)
    try:
        (record,) = await workers.ended([key])
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
    assert record.outcome is Outcome.SUCCESS
    assert len(workers.jobs(key)) == 1
    assert await workers.lab.output(key) == b"once\n"


async def test_killed_while_the_controller_hangs(workers: Workers) -> None:
    """An sbatch that outlived its worker is waited for: its job is adopted."""
    with workers.slurm.hung("slurmctld"):
        key = await workers.submit("--wrap", "echo once")
        dying = workers.start("sbatch:1")
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        process = workers.start()
        await asyncio.sleep(1.0)
    try:
        (record,) = await workers.ended([key])
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
    assert record.outcome is Outcome.SUCCESS
    assert len(workers.jobs(key)) == 1


async def test_no_controller_at_all(workers: Workers) -> None:
    """The task waits and says for what; it is submitted once there is a controller again."""
    with workers.slurm.without("slurmctld"):
        key = await workers.submit("--wrap", "echo once")
        process = workers.start("never", "sbatch_timeout=12")
        await until(lambda: has(workers, key, "sbatch is tried again"), 30)
    try:
        (record,) = await workers.ended([key])
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
    assert record.outcome is Outcome.SUCCESS
    assert len(workers.jobs(key)) == 1


async def test_a_cancel_while_no_worker_is_there(workers: Workers) -> None:
    """The wish waits in the record, and the job ends when a worker is back."""
    key = await workers.submit("--wrap", "sleep 60")
    async with workers.worker():
        await workers.lab.record(key, lambda record: record.status is Status.RUNNING)
    with suppress(NotFound):  # nobody to nudge
        await workers.lab.cancel(key)
    async with workers.worker():
        (record,) = await workers.ended([key])
    assert record.outcome is Outcome.CANCELLED
    assert record.reason == f"cancelled by {USER}: enough"


@pytest.mark.timeout(120 + 3 * MANY)
async def test_many_kills(workers: Workers) -> None:
    """Through kills at random moments and a controller that stops now and then, each task has one job and its end."""
    rng = random.Random(7)  # noqa: S311 -- moments, not secrets
    keys = [await workers.submit("--wrap", f"sleep 0.3; echo done; exit {at % 3}") for at in range(MANY)]
    for round_ in range(max(4, MANY // 12)):
        worker = workers.start()
        await asyncio.sleep(0.6 + rng.random() * 1.5)
        if round_ % 2:
            with workers.slurm.hung("slurmctld"):
                await asyncio.sleep(rng.random() * 2)
        worker.send_signal(signal.SIGKILL)
        await asyncio.to_thread(worker.wait)
    async with workers.worker():
        records = await workers.ended(keys, 60 + 2 * MANY)
    assert [record.data["returncode"] for record in records] == [at % 3 for at in range(MANY)]
    assert [[str(one.job) for one in workers.jobs(key)] for key in keys] == [
        [record.data["jobid"]] for record in records
    ]
    assert [await workers.lab.output(key) for key in keys] == [b"done\n"] * MANY
