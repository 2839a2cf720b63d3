"""What a worker does about attempts of another one of its pool that is silent."""

from __future__ import annotations

import asyncio
import copy
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import ClassVar

import pytest
from tests.unit.worker.lab import Lab, now, until

from qme.bus.kv import Bucket
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Holder, Outcome, Status
from qme.executor import Executor, ExecutorSettings, Result, Task
from qme.lifecycle import Claimed, Started, TakenOver

GONE = Holder(worker="gone-1", host="login1", boot="b1")


class Elsewhere(Executor[ExecutorSettings]):
    """Its work is done somewhere else, and any worker can follow it; it ends once nobody else can act upon it."""

    name = "shell"
    taken_over: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(ExecutorSettings())
        self.executed: list[str] = []

    async def execute(self, task: Task) -> Result:
        """Wait to be alone."""
        self.executed.append(task.spec.uuid)
        while not await task.alone():  # noqa: ASYNC110 -- heartbeats set no event
            await asyncio.sleep(0.05)
        return Result(0)


async def held_by_the_gone(lab: Lab) -> TaskKey:
    """A task that a worker has which nobody hears."""
    key = await lab.submit("true")
    await lab.change(key, Claimed(GONE.worker, "n", 1, now(), GONE.host, GONE.boot))
    await lab.change(key, Started(1, now()))
    return key


async def beat(lab: Lab, worker: str, host: str, boot: str, ttl: float = 60.0) -> int:
    """Give a sign of life."""
    sign = Heartbeat(
        executor="shell",
        pool="u-ann",
        worker=worker,
        host=host,
        pid=1,
        version="1",
        slots=1,
        active=0,
        started=now(),
        at=now(),
        interval=ttl / 3,
        boot=boot,
    )
    bucket = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    return await bucket.put(subjects.heartbeat_key("shell", "u-ann", worker), sign, ttl=ttl)


@pytest.mark.parametrize(
    ("worker", "boot"), [("gone-1", "b1"), ("another-1", "b2")], ids=["back", "its host was rebooted"]
)
async def test_taken_over_and_not_alone_until_the_first_is_back(lab: Lab, worker: str, boot: str) -> None:
    """The claim says from whom; a sign of the first one, or of another boot of its host, says that it is over."""
    key = await held_by_the_gone(lab)
    executor = Elsewhere()
    async with lab.worker(executor, settings=replace(lab.settings, lease=0.4)):
        record = await lab.record(key, lambda record: record.claim and record.claim.earlier)
        assert record.claim is not None
        assert record.claim.earlier == (GONE,)
        await beat(lab, "another-1", "login1", "b1")  # of that very boot: it says nothing about the first
        await asyncio.sleep(1.0)
        assert not (await lab.entry(key)).value.ended
        await beat(lab, worker, "login1", boot)
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
    assert executor.executed == [key.uuid]


async def test_a_claim_made_again_says_from_whom_it_was_taken(lab: Lab) -> None:
    """A bus that was set back has forgotten the take-over; that somebody else may be at it is still so."""
    key = await held_by_the_gone(lab)
    executor = Elsewhere()
    async with lab.worker(executor, settings=replace(lab.settings, lease=0.4)):
        await lab.record(key, lambda record: record.claim and record.claim.earlier)
        entry = await lab.entry(key)
        forgotten = entry.value.model_copy(update={"claim": None, "status": Status.QUEUED, "started": None})
        await lab.records.update(str(key), forgotten, entry.revision)
        again = await lab.record(key, lambda record: record.claim)
        assert again.claim is not None
        assert again.claim.earlier == (GONE,)
        await asyncio.sleep(1.0)
        assert not (await lab.entry(key)).value.ended
        await beat(lab, GONE.worker, "login1", "b1")
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
    assert executor.executed == [key.uuid]


async def test_a_take_over_that_the_bus_forgot_is_made_again(lab: Lab) -> None:
    """The claim is the silent one's again, in a bucket whose sequences have caught up with what was read of it."""
    key = await held_by_the_gone(lab)
    executor = Elsewhere()
    store = copy.deepcopy(lab.server.streams)
    async with lab.worker(executor, settings=replace(lab.settings, lease=0.4)):
        taken = await lab.record(key, lambda record: record.claim and record.claim.earlier)
        lab.server.streams.update(store)
        for number in range(20):
            await lab.bus.append(
                subjects.bucket_subject(subjects.BUCKET_TASKS, f"other.none.{number}"), b"{}"
            )
        lab.server.interrupt()
        again = await lab.record(
            key, lambda record: record.claim and record.claim.earlier and record.claim != taken.claim
        )
        assert again.worker == taken.worker
        await beat(lab, GONE.worker, "login1", "b1")
        await lab.ended(key)
    assert executor.executed.count(key.uuid) == 2


@pytest.mark.parametrize("begun", [True, False])
async def test_what_was_begun_elsewhere_and_forgotten_is_taken_up_again(lab: Lab, begun: bool) -> None:
    """Its work has no start token: what its executor noted says that it was begun here, so it is not left to others."""

    class Noting(Elsewhere):
        lost_by_silence: ClassVar[bool] = False

        async def execute(self, task: Task) -> Result:
            if begun:
                (task.directory / "journal").touch()
            return await super().execute(task)

    key = await held_by_the_gone(lab)
    executor = Noting()
    settings = replace(lab.settings, lease=0.4)
    async with lab.worker(executor, settings=settings):
        await until(lambda: _filled(executor.executed))
    entry = await lab.entry(key)
    forgotten = entry.value.model_copy(update={"claim": None, "status": Status.QUEUED, "started": None})
    await lab.records.update(str(key), forgotten, entry.revision)
    async with lab.worker(executor, settings=settings):
        if begun:
            record = await lab.ended(key)
            assert record.worker == lab.spool.worker_id
        else:
            await asyncio.sleep(1.0)
    assert len(executor.executed) == 1 + begun


async def _filled(found: list[str]) -> bool:
    return bool(found)


async def test_a_worker_that_is_heard_keeps_what_it_has(lab: Lab) -> None:
    """However long it takes; once it is silent, a lease has to pass."""
    key = await held_by_the_gone(lab)
    revision = await beat(lab, GONE.worker, "login1", "b1")
    executor = Elsewhere()
    async with lab.worker(executor, settings=replace(lab.settings, lease=0.4)):
        await asyncio.sleep(1.5)
        assert executor.executed == []
        bucket = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
        await bucket.delete(subjects.heartbeat_key("shell", "u-ann", GONE.worker), revision, keep_marker=1.0)
        await lab.record(key, lambda record: record.claim and record.claim.earlier)


async def test_of_several_that_try_one_succeeds(lab: Lab) -> None:
    """The claim is replaced by compare-and-set."""
    key = await held_by_the_gone(lab)
    executors = [Elsewhere(), Elsewhere(), Elsewhere()]
    async with AsyncExitStack() as stack:
        for at, executor in enumerate(executors):
            settings = replace(lab.settings, lease=0.4, local_dir=lab.home / f"login{at}")
            await stack.enter_async_context(lab.worker(executor, settings=settings))
        await lab.record(key, lambda record: record.claim and record.claim.earlier)
        await beat(lab, GONE.worker, "login1", "b1")
        await lab.ended(key)
        await asyncio.sleep(0.5)
    assert [uuid for executor in executors for uuid in executor.executed] == [key.uuid]


async def test_commands_of_a_host_are_not_taken_over(lab: Lab) -> None:
    """What a worker runs on its own host, no other one can go on with."""
    key = await held_by_the_gone(lab)
    async with lab.worker(settings=replace(lab.settings, lease=0.2)):
        await asyncio.sleep(1.0)
        record = (await lab.entry(key)).value
    assert record.claim is not None
    assert record.claim.worker == GONE.worker


async def test_who_lost_an_attempt_lets_go_of_it(lab: Lab) -> None:
    """A worker that learns of it stops following, and writes nothing more."""
    key = await held_by_the_gone(lab)
    executor = Elsewhere()
    async with lab.worker(executor, settings=replace(lab.settings, lease=0.4)):
        taken = await lab.record(key, lambda record: record.claim and record.claim.earlier)
        assert taken.claim is not None
        await lab.change(key, TakenOver(Claimed("third-1", "m", 1, now()), taken.claim.nonce))
        await beat(lab, "third-1", "login3", "b3")
        await beat(lab, GONE.worker, "login1", "b1")
        heartbeat = subjects.heartbeat_key("shell", "u-ann", str(taken.worker))

        async def idle() -> bool:
            found = await Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Heartbeat).get(heartbeat)
            return found is not None and found.value.active == 0

        await until(idle)
        record = (await lab.entry(key)).value
    assert (record.worker, record.ended) == ("third-1", False)
