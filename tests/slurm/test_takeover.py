"""Two login nodes, one of which goes: the other one's worker takes over, and there is one job for each task."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.slurm.workers import Workers
from tests.unit.worker.lab import until

from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, TaskRecord

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]

#: seconds of silence after which a worker's tasks are taken over
LEASE = "lease=1"


def first(workers: Workers, point: str = "never") -> subprocess.Popen[bytes]:
    """Start the worker of the first login node."""
    return workers.start(point, LEASE)


def second(workers: Workers, tmp_path: Path, *settings: str) -> subprocess.Popen[bytes]:
    """Start the one of the second, with a spool of its own."""
    return workers.start("never", LEASE, *settings, home=tmp_path / "second")


async def is_so(workers: Workers, key: TaskKey, **fields: object) -> TaskRecord | None:
    """The record, once its fields or those of its data are so; a text need only stand in them."""
    record = (await workers.lab.entry(key)).value
    found = {**record.data, **dict(record)}
    same = all(
        str(value) in str(found.get(name)) if isinstance(value, str) else found.get(name) == value
        for name, value in fields.items()
    )
    return record if same else None


async def taken_over(workers: Workers, key: TaskKey) -> TaskRecord:
    """Wait until the attempt is another worker's."""

    async def look() -> TaskRecord | None:
        record = (await workers.lab.entry(key)).value
        return record if record.claim and record.claim.earlier else None

    return await until(look, 30)


@pytest.mark.parametrize("fate", ["killed", "frozen"])
async def test_a_followed_job(workers: Workers, tmp_path: Path, fate: str) -> None:
    """The other one follows it to its end; the first one comes back, and lets go of what it held."""
    go = workers.slurm.work / f"go-{fate}"
    key = await workers.submit(
        "--wrap", f"echo one; while [ ! -e {go} ]; do sleep 0.1; done; echo two; exit 4"
    )
    one = first(workers)
    before = await until(lambda: is_so(workers, key, slurm_state="RUNNING", outputfile="slurm-"), 30)
    one.send_signal(signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
    second(workers, tmp_path)
    taken = await taken_over(workers, key)
    if fate == "killed":
        await asyncio.to_thread(one.wait)
        first(workers)
    else:
        one.send_signal(signal.SIGCONT)
    await until(lambda: heard(workers, str(before.worker)), 30)
    go.touch()
    (record,) = await workers.ended([key])
    assert record.worker == taken.worker != before.worker
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 4)
    assert await workers.lab.output(key) == b"one\ntwo\n"
    assert [str(one.job) for one in workers.jobs(key)] == [record.data["jobid"]]
    assert record.reason is None


async def test_a_job_that_nobody_noted(workers: Workers, tmp_path: Path) -> None:
    """It was submitted, and its worker died before it could say so: the other one finds it by its marker."""
    key = await workers.submit("--wrap", "echo once")
    assert await asyncio.to_thread(first(workers, "answered").wait, 30) == -signal.SIGKILL
    second(workers, tmp_path)
    (record,) = await workers.ended([key])
    assert record.outcome is Outcome.SUCCESS
    assert [str(one.job) for one in workers.jobs(key)] == [record.data["jobid"]]
    assert await workers.lab.output(key) == b"once\n"


async def test_no_sbatch_while_the_first_may_still_be_at_it(workers: Workers, tmp_path: Path) -> None:
    """An intent and no job: the other one looks and waits, however long; once the first is back, it submits."""
    key = await workers.submit("--wrap", "echo once")
    assert await asyncio.to_thread(first(workers, "intent").wait, 30) == -signal.SIGKILL
    second(workers, tmp_path, "lookup_span=0.5", "sbatch_timeout=1.5")
    await until(lambda: is_so(workers, key, reason="fell silent and may have submitted it"), 30)
    await asyncio.sleep(3.0)  # many times what a look takes, and a whole lookup_span
    assert workers.jobs(key) == []
    first(workers)
    (record,) = await workers.ended([key])
    assert record.outcome is Outcome.SUCCESS
    assert [str(one.job) for one in workers.jobs(key)] == [record.data["jobid"]]


async def heard(workers: Workers, worker: str) -> bool:
    """A worker's heartbeat is there."""
    stream = subjects.bucket_stream(subjects.BUCKET_EXECUTORS)
    pattern = subjects.bucket_subject(subjects.BUCKET_EXECUTORS, subjects.heartbeat_key("*", "*", worker))
    return bool(await workers.lab.bus.subjects(stream, pattern))
