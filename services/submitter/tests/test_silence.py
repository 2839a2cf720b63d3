"""A task whose worker is silent is given up for lost, provisionally; a janitor that is deaf concludes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from qme.contracts.messages import Submission
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, RetryPolicy, Status
from qme.errors import BusUnavailable
from qme.lifecycle import Claimed, Progressed, Returned, Started
from qme_submitter.process import Submitter
from qme_submitter.silence import Silence

from .conftest import NOW, Watched, World, submission

WORKER = "w1"
LOST_AFTER = 60.0
#: seconds from one round of chores to the next, as the tests' clock has it
ROUND = 2.0


class Chores:
    """A submitter's janitor, with a clock that moves from round to round."""

    def __init__(self, submitter: Submitter) -> None:
        self.submitter = submitter
        self.now = 1000.0
        silence = Silence(submitter.buckets, submitter.registry, LOST_AFTER, 1.0, lambda: self.now)
        submitter.janitor._silence = silence

    async def go_on(self, seconds: float) -> None:
        """Do rounds for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += ROUND
            await self.submitter.janitor.look()

    def metric(self, name: str) -> float | None:
        """Read one of the submitter's counters."""
        return self.submitter.metrics_registry.get_sample_value(f"qme_submitter_{name}_total")


async def claimed(world: World, bus: Any = None, **spec: Any) -> tuple[Chores, Submission]:
    """A task that a worker runs which has never given a sign of life."""
    one = await world.submitter(bus)
    task = submission("sleep", "9", **spec)
    await one.acceptor.accept(task, "ann")
    await world.lose_message(TaskKey("shell", "default", task.uuid))
    await world.advance(task.uuid, Claimed(WORKER, "n", 1, NOW), Started(1, NOW))
    return Chores(one), task


async def test_a_silent_worker_loses_its_task(world: World) -> None:
    """After `lost_after`, not before; the record says that it is a guess, and of whom; it is counted once."""
    chores, task = await claimed(world, retry=RetryPolicy(limit=1))
    await chores.go_on(LOST_AFTER)
    assert (await world.record(task.uuid)).status is Status.RUNNING
    await chores.go_on(2 * ROUND)
    record = await world.record(task.uuid)
    assert (record.status, record.outcome, record.provisional) == (Status.LOST, Outcome.LOST, True)
    assert (
        record.reason
        == f"nothing was heard of its worker {WORKER} for 1m; should it come back, it tells the truth"
    )
    await chores.go_on(2 * LOST_AFTER)
    assert chores.metric("lost") == 1.0
    assert (await world.record(task.uuid)).attempt == 1, "a guess must not be followed by a retry"
    assert await world.queue() == []


async def test_a_heartbeat_keeps_it(world: World) -> None:
    """However long it runs; the silence begins when the last heartbeat is gone."""
    chores, task = await claimed(world)
    await world.beat("shell", "default", WORKER, interval=1000.0)
    await chores.go_on(3 * LOST_AFTER)
    await world.bus.purge("KV_qme_executors", "$KV.qme_executors.hb.>")
    await chores.go_on(LOST_AFTER - ROUND)
    assert not (await world.record(task.uuid)).ended
    await chores.go_on(2 * ROUND)
    assert (await world.record(task.uuid)).provisional


async def test_the_heartbeat_of_another_worker_does_not(world: World) -> None:
    """Each answers for its own."""
    chores, task = await claimed(world)
    for place in (("shell", "default", "w2"), ("shell", "other", WORKER), ("loud", "default", WORKER)):
        await world.beat(*place, interval=1000.0)
    await chores.go_on(LOST_AFTER + 2 * ROUND)
    assert (await world.record(task.uuid)).provisional


async def test_what_a_worker_writes_is_a_sign_of_life(world: World) -> None:
    """Its heartbeats may be the only thing that does not arrive."""
    chores, task = await claimed(world)
    for percent in range(4):
        await chores.go_on(LOST_AFTER - ROUND)
        await world.advance(task.uuid, Progressed(1, {"percent": percent}))
    await chores.go_on(ROUND)
    assert not (await world.record(task.uuid)).ended


@pytest.mark.parametrize("defined", [True, False])
async def test_under_a_scheduler_silence_means_nothing(world: World, defined: bool) -> None:
    """The executor says so; where nobody says anything, nothing is concluded."""
    chores, task = await claimed(world)
    if defined:
        await world.define("shell", "default", lost_by_silence=False)
    else:
        await world.bus.purge("KV_qme_executors", "$KV.qme_executors.def.shell.>")
    await chores.submitter.registry.refresh(full=True)
    await chores.go_on(5 * LOST_AFTER)
    assert not (await world.record(task.uuid)).ended


async def test_deafness_is_no_silence(world: World) -> None:
    """A janitor that was stopped, asleep or cut off begins in doubt, and listens for a whole span first."""
    chores, task = await claimed(world)
    await chores.go_on(LOST_AFTER - ROUND)
    chores.now += 10 * LOST_AFTER
    await chores.go_on(LOST_AFTER - ROUND)
    assert not (await world.record(task.uuid)).ended
    await chores.go_on(3 * ROUND)
    assert (await world.record(task.uuid)).provisional


class Failing:
    """A bus that can be taken away from one caller."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.away = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bus, name)

        async def call(*args: Any, **options: Any) -> Any:
            if self.away:
                raise BusUnavailable
            return await method(*args, **options)

        return call if name in ("subjects", "state") else method


@pytest.mark.parametrize("minutes", [2, 600])
async def test_an_outage_of_the_bus_loses_nothing(world: World, minutes: int) -> None:
    """While the bus is away no heartbeat can be heard: every task of every worker would be lost otherwise."""
    bus = Failing(await world.connect("submitter"))
    chores, task = await claimed(world, bus)
    await chores.go_on(LOST_AFTER / 2)
    bus.away = True
    for _ in range(minutes):
        chores.now += 60.0
        with pytest.raises(BusUnavailable):
            await chores.submitter.janitor.look()
    bus.away = False
    await chores.go_on(LOST_AFTER - ROUND)
    assert not (await world.record(task.uuid)).ended


async def test_a_new_leader_begins_in_doubt(world: World) -> None:
    """What another janitor heard, or did not, is not known to this one."""
    chores, task = await claimed(world)
    await chores.go_on(LOST_AFTER - ROUND)
    other = Chores(await world.submitter())
    other.now = chores.now
    await other.go_on(LOST_AFTER - ROUND)
    assert not (await world.record(task.uuid)).ended


async def test_lost_corrected_and_lost_again(world: World) -> None:
    """A worker that came back has to be silent for a whole span once more."""
    chores, task = await claimed(world)
    await chores.go_on(LOST_AFTER + 2 * ROUND)
    await world.advance(task.uuid, Returned(WORKER, "m", 1, NOW))
    await chores.go_on(LOST_AFTER)
    assert (await world.record(task.uuid)).status is Status.RUNNING
    await chores.go_on(2 * ROUND)
    assert (await world.record(task.uuid)).provisional


async def test_watching_costs_a_question_now_and_then(world: World) -> None:
    """One for all workers, sixty in `lost_after`, and none while nobody holds anything."""
    watched = Watched(world.bus)
    chores, _ = await claimed(world, watched)
    chores.submitter.janitor._silence._pause = 30.0
    watched.calls.clear()
    await chores.go_on(2 * LOST_AFTER)
    asked = [call for call in watched.calls if call == ("subjects", "KV_qme_executors")]
    assert len(asked) == 3  # by then it is lost
