"""Slurm's daemons away while jobs run: the task says so, stays as it was last seen, and settles as Slurm then says."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

import pytest
from tests.integration.nats_server import NatsServer
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.workers import Workers
from tests.unit.worker.lab import until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status, TaskRecord

pytestmark = [
    pytest.mark.nats,
    pytest.mark.timeout(180),
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]

AWAY: dict[str, Callable[[Cluster], AbstractContextManager[None]]] = {
    "ended": lambda slurm: slurm.without("slurmctld"),
    "hung": lambda slurm: slurm.hung("slurmctld"),
}


async def seen(workers: Workers, key: TaskKey, status: Status, words: str) -> TaskRecord:
    """Wait until a task stands so, and its reason holds these words."""

    async def look() -> TaskRecord | None:
        record = (await workers.lab.entry(key)).value
        return record if record.status is status and words in (record.reason or "") else None

    return await until(look, 60)


@asynccontextmanager
async def away(workers: Workers, how: str) -> AsyncIterator[None]:
    """Have no controller."""
    gone = AWAY[how](workers.slurm)
    await asyncio.to_thread(gone.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(gone.__exit__, None, None, None)


@pytest.mark.parametrize("how", AWAY)
async def test_a_controller_that_is_away_while_a_job_ends(workers: Workers, how: str) -> None:
    """The task stays running and says what the trouble is; back again, the controller tells the end."""
    go = workers.slurm.work / f"go-{how}"
    key = await workers.submit("--wrap", f"echo begun; while [ ! -e {go} ]; do sleep 0.1; done; exit 6")
    async with workers.worker():
        await seen(workers, key, Status.RUNNING, "")
        async with away(workers, how):
            await seen(workers, key, Status.RUNNING, "Slurm does not answer: ")
            go.touch()
        (record,) = await workers.ended([key], 90)
    assert (record.outcome, record.data["returncode"], record.reason) == (Outcome.FAILED, 6, None)
    assert await workers.lab.output(key) == b"begun\n"


async def test_accounting_that_hangs_holds_nothing_up(workers: Workers) -> None:
    """The controller tells how jobs end that it still knows."""
    async with workers.worker("command_timeout=2"):
        with workers.slurm.hung("slurmdbd"):
            key = await workers.submit("--wrap", "exit 7")
            (record,) = await workers.ended([key], 60)
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 7)


async def test_a_controller_that_dies_with_an_accepted_job(workers: Workers) -> None:
    """The job is gone and its number is the next job's: the task is lost, and never takes the other one's end."""
    slurm = workers.slurm
    state, before = slurm.directory / "state", slurm.directory / "state-before"
    shutil.copytree(state, before)
    async with workers.worker("young=1", "lost_after=3"):
        key = await workers.submit("-H", "--wrap", "true")
        record = await seen(workers, key, Status.QUEUED, "JobHeldUser")
        lost = int(record.data["jobid"])
        await asyncio.to_thread(slurm.signal, "slurmctld", "KILL")
        # It had answered sbatch, and had not yet written down what it knew.
        shutil.rmtree(state)
        before.rename(state)
        await asyncio.to_thread(slurm.up)
        others = [slurm.sbatch("--wrap", "true", mark="qme:another:1")]
        while others[-1] < lost:
            others.append(slurm.sbatch("--wrap", "true", mark="qme:another:1"))
        assert others[-1] == lost
        await asyncio.to_thread(wait_until, lambda: all_completed(slurm, others))
        (record,) = await workers.ended([key], 90)
    assert (record.status, record.outcome) == (Status.LOST, Outcome.LOST)
    assert record.reason == "lost: neither squeue nor sacct knows it"


def all_completed(slurm: Cluster, jobs: list[int]) -> bool:
    """These jobs have ended well."""
    states = {row.id.job: row.state for row in slurm.queue()}
    return all(states.get(job) == "COMPLETED" for job in jobs)
