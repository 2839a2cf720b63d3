"""Limits that a cluster really enforces: a job's memory, how many jobs a user submits, how many Slurm holds at all,
what a site's own plug-in refuses. On a Slurm of their own; `make soak`.
"""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import cluster, pool
from tests.slurm.table import GREEDY
from tests.slurm.workers import Workers
from tests.unit.worker.lab import until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status, TaskRecord

pytestmark = [pytest.mark.nats, pytest.mark.timeout(180)]

#: Slurm takes one job less, and ended ones count until it forgets them
MOST = 8
EXTRA = f"""MessageTimeout=4
MinJobAge=5
MaxJobCount={MOST}
AccountingStorageEnforce=limits
JobSubmitPlugins=lua"""
PLUG_IN = """
function slurm_job_submit(job, partitions, uid)
    if job.name == "greedy" then
        slurm.log_user("the site wants no greedy jobs")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm with limits; who is in no account may submit nothing there."""
    variables = {"SLURM_LAB_EXTRA": EXTRA, "SLURM_LAB_MEMORY": "cgroup"}
    with cluster(tmp_path_factory, {"job_submit.lua": PLUG_IN}, **variables) as slurm:
        for words in (["account", "all"], ["user", getpass.getuser(), "account=all"]):
            slurm.run(["sacctmgr", "-i", "add", *words])
        yield slurm


@pytest.fixture
async def workers(limited: Cluster, tmp_path: Path) -> AsyncIterator[Workers]:
    """A bus of the test's own, with a pool for its tasks."""
    async with pool(limited, tmp_path) as made:
        yield made


async def waits(workers: Workers, key: TaskKey, why: str) -> TaskRecord:
    """Wait until a task says why there is no job yet."""

    async def look() -> TaskRecord | None:
        record = (await workers.lab.entry(key)).value
        return record if why in (record.reason or "") else None

    return await until(look, 60)


async def accepted(workers: Workers, key: TaskKey) -> None:
    """Wait for its end: one job, which did well."""
    (record,) = await workers.ended([key], 120)
    assert record.outcome is Outcome.SUCCESS
    assert [str(one.job) for one in workers.jobs(key)] == [record.data["jobid"]]


async def test_as_many_jobs_as_slurm_holds(workers: Workers) -> None:
    """There sbatch itself tries on and on until it is killed: its job is looked for before it is called again."""
    slurm = workers.slurm
    while len({row.id.job for row in slurm.queue() if row.state == "PENDING"}) < MOST - 1:
        slurm.submit("-H", "--wrap", "true", timeout=3)  # in vain while ended ones count
    key = await workers.submit("--wrap", "true")
    async with workers.worker():
        record = await waits(workers, key, "Slurm temporarily unable to accept job")
        assert record.status is Status.QUEUED
        slurm.cancel_all()
        await accepted(workers, key)


async def test_out_of_memory(workers: Workers) -> None:
    """What the kernel ends for its memory is told apart from what fails."""
    key = await workers.submit("--mem=20", "-o", "/dev/null", "--wrap", f"{GREEDY}; sleep 9")
    async with workers.worker():
        (record,) = await workers.ended([key])
    assert (record.outcome, record.data["slurm_state"]) == (Outcome.OUT_OF_MEMORY, "OUT_OF_MEMORY")
    assert record.data["returncode"] == 137
    assert record.reason == "Slurm ended the job for the memory it used"


async def test_as_many_jobs_as_a_user_may_submit(workers: Workers) -> None:
    """The task waits, names the limit, and is submitted when there is room."""
    slurm = workers.slurm
    slurm.ok(["sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=1"])
    try:
        held = slurm.sbatch("-H", "--wrap", "true", mark="held")
        key = await workers.submit("--wrap", "true")
        async with workers.worker():
            record = await waits(workers, key, "QOSMaxSubmitJobPerUserLimit")
            assert record.status is Status.QUEUED
            assert (record.reason or "").startswith("Slurm takes no job now, sbatch is tried again: ")
            slurm.ok(["scancel", str(held)])
            await accepted(workers, key)
    finally:
        slurm.ok(["sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=-1"])


async def test_what_a_plug_in_refuses(workers: Workers) -> None:
    """Its words are in no list of ours; the task ends with them once they were said twice, and there is no job."""
    key = await workers.submit("-J", "greedy", "--wrap", "true")
    async with workers.worker():
        (record,) = await workers.ended([key])
    assert record.outcome is Outcome.SUBMIT_FAILED
    assert record.reason == "the site wants no greedy jobs; Batch job submission failed: Unspecified error"
    assert workers.jobs(key) == []
