"""The window: how much is released ahead of the workers, whoever submits and whoever leads."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from qme.bus.kv import Bucket
from qme.bus.port import Message
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.messages import SubmitRequest, Target
from qme.contracts.resources import Capacity, Resources
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import HEADER_WAITS, Outcome, TaskRecord, event_headers
from qme.lifecycle import Claimed, Ended, Unfit, advance
from qme_submitter.ahead import BARRED, FRONT, LEAST, NOBODY, Ahead
from qme_submitter.process import Submitter

from .conftest import ANN, NOW, Watched, World, eventually, running, submission

SLOTS = 8
WINDOW = SLOTS + LEAST


async def worker(world: World, slots: int = SLOTS, capacity: Capacity | None = None) -> None:
    """Say that a worker is there; tests take the tasks themselves."""
    beat = Heartbeat(
        executor="shell",
        pool="default",
        worker="w",
        host="h",
        pid=1,
        version="0",
        slots=slots,
        active=0,
        started=NOW,
        at=NOW,
        interval=100.0,
        capacity=capacity,
    )
    await Bucket(world.bus, subjects.BUCKET_EXECUTORS, Heartbeat).put("hb.shell.default.w", beat)


@contextlib.asynccontextmanager
async def leading(world: World) -> AsyncIterator[Submitter]:
    """A submitter that leads."""
    one = await world.submitter()
    loops = (one.janitor.run(), one.janitor.listen(), one.releasing.run(), one.ahead.run())
    async with running(*loops):
        yield one


async def submit(one: Submitter, count: int, user: str = "ann", **said: object) -> list[str]:
    """Submit many."""
    tasks = tuple(submission("true", **said) for _ in range(count))
    results = await one.acceptor.submit(SubmitRequest(id="r", expires=NOW, tasks=tasks), user)
    assert [result.error for result in results.results] == [None] * count
    return [task.uuid for task in tasks]


async def perform(world: World, uuid: str) -> None:
    """Take a task and end it, as a worker does."""
    key = TaskKey("shell", "default", uuid)
    bucket = Bucket(world.bus, subjects.BUCKET_TASKS, TaskRecord)
    for event in (Claimed("w", uuid, 1, NOW), Ended(1, Outcome.SUCCESS, datetime.now(UTC))):
        entry = await bucket.get(str(key), leader=True)
        assert entry is not None
        record = advance(entry.value, event).record
        await bucket.update(str(key), record, entry.revision, headers=event_headers(record, "w"))
    await world.lose_message(key)


async def test_one_task_is_released_in_the_write_that_accepts_it(world: World) -> None:
    """Nothing is written or read for its sake that was not before: spec, record, message, last."""
    await worker(world)
    watched = Watched(world.bus)
    one = await world.submitter(watched)
    watched.calls.clear()
    await one.acceptor.accept(task := submission("true"), "ann")
    written = [what for call, what in watched.calls if call == "append"]
    assert len(written) == 4
    assert await world.queue() == [task.uuid]


async def test_no_more_is_released_than_the_window_holds(world: World) -> None:
    """The others stand as records; as the worker takes some, as many follow, and in the end all."""
    await worker(world)
    async with leading(world) as one:
        uuids = await submit(one, 40)

        async def full() -> bool:
            return len(await world.queue()) == WINDOW

        await eventually(full)
        await asyncio.sleep(0.5)
        assert await full()
        done: list[str] = []
        while len(done) < 40:
            queue = await world.queue()
            assert len(queue) <= max(WINDOW, len(done))
            for uuid in queue[:3]:
                await perform(world, uuid)
                done.append(uuid)
            await asyncio.sleep(0.02)
        assert sorted(done) == sorted(uuids)


async def test_a_user_with_one_task_waits_for_the_window_and_no_more(world: World) -> None:
    """Beside a user with many, who came first; and a higher priority is next whoever asks."""
    await worker(world)
    async with leading(world) as one:
        await submit(one, 60)
        bobs = await submit(one, 1, "bob")
        urgent = await submit(one, 1, "ann", priority=5)
        done: list[str] = []
        while not set(bobs + urgent) <= set(done):
            for uuid in (await world.queue())[:1]:
                await perform(world, uuid)
                done.append(uuid)
            await asyncio.sleep(0.01)
        # What is released has its place; how much that is grows a little with what is taken meanwhile.
        assert max(done.index(bobs[0]), done.index(urgent[0])) <= 2 * WINDOW


async def test_another_submitter_fills_the_window_when_the_leading_one_is_gone(world: World) -> None:
    """It is gone without a word, with all that it knew; nothing is forgotten and nothing released twice."""
    await worker(world)
    async with leading(world) as first:
        uuids = await submit(first, 40)
    second = await world.submitter()
    loops = (second.janitor.run(), second.janitor.listen(), second.releasing.run(), second.ahead.run())
    done: set[str] = set()
    async with running(*loops), asyncio.timeout(60):
        while len(done) < 40:
            # A message may be there twice, where one submitter released a task and the other one missed its message.
            for uuid in (await world.queue())[:4]:
                if uuid not in done:
                    await perform(world, uuid)
                    done.add(uuid)
            await asyncio.sleep(0.02)
    assert done == set(uuids)


async def test_two_submitters_together_release_little_more(world: World) -> None:
    """Each may let in what it writes before it hears of the other's."""
    await worker(world)
    async with leading(world) as one:
        other = await world.submitter()
        async with running(other.janitor.listen(), other.ahead.run()):
            await asyncio.gather(submit(one, 60), submit(other, 60, "bob"))
            await asyncio.sleep(0.5)
            assert WINDOW <= len(await world.queue()) <= WINDOW + round(FRONT * WINDOW)


async def test_what_was_missed_is_counted(world: World) -> None:
    """A submitter that starts, or was cut off, looks at the queue."""
    await worker(world)
    one = await world.submitter()
    await submit(one, 4)
    other = await world.submitter()
    assert other.ahead.room(("shell", "default")) == WINDOW
    await other.ahead.recount()
    assert other.ahead.room(("shell", "default")) == WINDOW - 4


async def test_reruns_have_their_turn_too(world: World) -> None:
    """Many at once are not all released at once, and all come about."""
    await worker(world, slots=1)
    async with leading(world) as one:
        uuids = await submit(one, 90)
        done: set[str] = set()
        while len(done) < 90:
            for uuid in await world.queue():
                await perform(world, uuid)
                done.add(uuid)
            await asyncio.sleep(0.02)
        await asyncio.gather(*(one.changes.rerun(Target(uuid=uuid), ANN) for uuid in uuids))
        await asyncio.sleep(0.3)
        assert len(await world.queue()) <= one.ahead.window(("shell", "default"))
        records = [await world.record(uuid) for uuid in uuids]
        assert {record.attempt for record in records} == {2}
        assert any(record.waits for record in records)


async def test_what_no_worker_can_run_takes_no_room(world: World) -> None:
    """It waits as a record that says why; when a larger worker is there, it is released."""
    await worker(world, capacity=Capacity(cpus=4))
    await world.define("shell", "default", resources=True)
    async with leading(world) as one:
        await one.registry.refresh(full=True)
        big = await submit(one, 20, resources=Resources(cpus=64))
        small = await submit(one, 2)

        async def said() -> bool:
            records = [await world.record(uuid) for uuid in big]
            return all(record.reason and "64 cpus" in record.reason for record in records)

        async def others_pass() -> bool:
            return sorted(await world.queue()) == sorted(small)

        await eventually(said)
        await eventually(others_pass)
        await worker(world, slots=64, capacity=Capacity(cpus=64))
        await one.registry.refresh(full=True)

        async def released() -> bool:
            return set(big) <= set(await world.queue())

        await eventually(released)


async def test_what_was_released_and_fits_no_more_takes_no_room(world: World) -> None:
    """Its worker is gone, and those that are there have said so: others are released in its place."""
    await worker(world, capacity=Capacity(cpus=64))
    await world.define("shell", "default", resources=True)
    async with leading(world) as one:
        await one.registry.refresh(full=True)
        big = await submit(one, WINDOW, resources=Resources(cpus=64))

        async def queued() -> bool:
            return set(big) <= set(await world.queue())

        await eventually(queued)
        for uuid in big:
            await one.changes.apply(TaskKey("shell", "default", uuid), Unfit(1, "too big"), "w")
        small = await submit(one, 2)

        async def others_pass() -> bool:
            return set(small) <= set(await world.queue())

        await eventually(others_pass)
        await one.ahead.recount()
        assert one.ahead.room(("shell", "default")) == WINDOW - 2


async def test_the_window_follows_how_fast_tasks_are_taken(world: World) -> None:
    """Between one for each slot with a few beside, and four for each slot with 64 beside."""
    seconds = [0.0]
    one = await world.submitter()
    ahead = Ahead(world.bus, one.registry, lambda: seconds[0])
    place = ("shell", "default")
    assert ahead.window(place) == NOBODY
    await worker(world)
    await one.registry.refresh(full=True)
    assert ahead.window(place) == WINDOW
    ahead._taken[place] = deque([0.0] * 500)
    assert ahead.window(place) == 4 * SLOTS + 64
    seconds[0] = 60.0
    assert ahead.window(place) == WINDOW


async def test_nobody_passes_those_of_whom_another_submitter_knows(world: World) -> None:
    """Who does not lead has heard that somebody waits for a turn: for a moment it lets nobody in."""
    await worker(world)
    one = await world.submitter()
    times = [100.0]
    one.ahead._clock = lambda: times[0]
    waits = await submit(await world.submitter(), 1, priority=5)
    seen = await world.record(waits[0])
    told = event_headers(seen, "s") | {HEADER_WAITS: "turn"}
    one.ahead.hear(Message(subjects.change_subject(str(seen.key)), b"", told, 7))
    key = TaskKey("shell", "default", submission().uuid)
    assert one.ahead.room(("shell", "default")) > 0
    assert not one.ahead.enter(key)
    times[0] += BARRED + 0.1
    assert one.ahead.enter(key)


async def test_a_submission_that_comes_again_is_counted_once(world: World) -> None:
    """While it lies in the queue, and not at all once a worker has taken it."""
    await worker(world)
    one = await world.submitter()
    task = submission("true")
    rooms = [one.ahead.room(("shell", "default"))]
    for _ in range(2):
        await one.acceptor.accept(task, "ann")
        rooms.append(one.ahead.room(("shell", "default")))
    other = await world.submitter()
    await perform(world, task.uuid)
    before = other.ahead.room(("shell", "default"))
    await other.acceptor.accept(task, "ann")
    assert rooms == [WINDOW, WINDOW - 1, WINDOW - 1]
    assert other.ahead.room(("shell", "default")) == before
