"""kill -9 of a Slurm worker at every point, and a controller that hangs: one job for each task, and its true end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.slurm.workers import Workers
from tests.unit.worker.lab import USER, until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status
from qme.errors import NotFound
from qme_executor_slurm import parsers, queries, sbatch, states

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


@pytest.mark.timeout(240 + 6 * MANY)
async def test_many_kills(workers: Workers) -> None:
    """Through kills at random moments and a controller that stops now and then, each task has one job and its end."""
    rng = random.Random(7)  # noqa: S311 -- moments, not secrets
    keys = [await workers.submit("--wrap", f"sleep 0.3; echo done; exit {at % 3}") for at in range(MANY)]
    least = max(4, MANY // 12)
    kills = stops = 0
    log = workers.lab.home / "worker.log"
    # Go on until all jobs have been submitted under kills.
    while kills < least or (kills < 6 * least and len(workers.slurm.queue()) < MANY):
        said = log.stat().st_size if log.exists() else 0
        worker = workers.start()
        await until(partial(grown, log, said))  # its first words: it is at work
        if kills % 2:
            await asyncio.sleep(rng.random())
            with workers.slurm.hung("slurmctld"):
                await asyncio.sleep(rng.random() * 2)
            stops += 1
        else:
            await asyncio.sleep(rng.random() * 1.5)
        worker.send_signal(signal.SIGKILL)
        await asyncio.to_thread(worker.wait)
        kills += 1
    async with workers.worker():
        records = await workers.ended(keys, 120 + 4 * MANY)
    accounts = await until(lambda: accounted(workers, keys), 60)
    text = log.read_text()
    sys.stdout.write(f"""
    tasks                                            {MANY:5}
    kill -9 of the worker                            {kills:5}
    slurmctld stopped and continued                  {stops:5}
    submissions interrupted, whose job was found     {text.count("slurm.adopted"):5}
    submissions interrupted, of which no job came    {text.count("slurm.no_job"):5}
    jobs in sacct                                    {sum(len(accounts[key.uuid]) for key in keys):5}
    tasks with other than one job in sacct           {sum(len(accounts[key.uuid]) != 1 for key in keys):5}
    """)
    told = [(record.data["jobid"], record.data["returncode"]) for record in records]
    assert [accounts[key.uuid] for key in keys] == [{job: code} for job, code in told]
    assert [code for _, code in told] == [at % 3 for at in range(MANY)]
    assert [await workers.lab.output(key) for key in keys] == [b"done\n"] * MANY


async def grown(log: Path, said: int) -> bool:
    """A worker has written to the log."""
    return log.exists() and log.stat().st_size > said


async def accounted(workers: Workers, keys: list[TaskKey]) -> dict[str, dict[str, int]] | None:
    """Give all jobs that sacct has of each task, with their exit codes; None while some have not ended in it."""
    found: dict[str, dict[str, int]] = {key.uuid: {} for key in keys}
    for row in parsers.accounting(workers.slurm.ok(queries.sacct_all(workers.slurm.since, uid=os.getuid()))):
        mark = sbatch.marked(row.comment) or sbatch.marked_line(row.submit_line)
        if mark and mark[0] in found:
            ending = states.ending(row.state, row.exit)
            if ending is None:
                return None
            found[mark[0]][str(row.id.job)] = ending.returncode
    return found if all(found.values()) else None
