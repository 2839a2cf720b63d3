"""Waiting for tasks to end."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import uuid4

import pytest
from tests.unit.client.scene import Scene

from qme.bus.port import Message
from qme.client import waiting
from qme.client.following import patient
from qme.contracts import subjects
from qme.contracts.tasks import Outcome
from qme.errors import BusUnavailable, NotFound, RecordCorrupt, WaitTimedOut


async def test_what_has_ended_is_given_at_once_the_rest_as_it_ends(stage: Scene) -> None:
    """Each once; an event of another task, or of a start, is no end."""
    done, running, other = await stage.run("a"), await stage.task("b"), await stage.task("c")
    found: list[str] = []

    async def wait() -> None:
        async for ended in stage.client.ended([done.uuid, running.uuid, done.uuid]):
            found.append(ended.uuid)
            if len(found) == 1:
                await stage.start(running)
                await stage.start(other)
                await stage.end(other)
                await stage.end(running)

    async with asyncio.timeout(10):
        await wait()
    assert found == [done.uuid, running.uuid]


async def test_a_task_that_ends_between_listening_and_reading(stage: Scene) -> None:
    """The listener is there first, so its event is not missed; it is given once."""
    key = await stage.task("a")

    async def end_now(leader: bool) -> Message | None:
        stage.reader.before_last = None
        await stage.start(key)
        await stage.end(key)
        return None

    stage.reader.before_last = end_now
    async with asyncio.timeout(10):
        (record,) = await stage.client.wait([key.uuid])
    assert record is not None
    assert record.outcome is Outcome.SUCCESS


async def test_a_replica_behind_the_leader_is_not_believed(stage: Scene) -> None:
    """The end came before we listened, so no event will tell of it any more."""
    key = await stage.task("a")
    await stage.start(key)
    stale = await stage.bus.last(
        subjects.bucket_stream(subjects.BUCKET_TASKS),
        subjects.bucket_subject(subjects.BUCKET_TASKS, str(key)),
    )
    await stage.end(key)

    async def lag(leader: bool) -> Message | None:
        return None if leader else stale

    stage.reader.before_last = lag
    async with asyncio.timeout(5):
        assert [ended.uuid async for ended in stage.client.ended([key.uuid])] == [key.uuid]


@pytest.mark.parametrize("many", [2, 300])
async def test_lost_events_are_made_good_after_a_reconnect(stage: Scene, many: int) -> None:
    """One subscription each for a few, one for all events for many."""
    stage.reader.hears = lambda message: False
    stage.reader.notices = True
    keys = [await stage.task("a") for _ in range(many)]
    waiting = asyncio.create_task(stage.client.wait([key.uuid for key in keys]))
    await asyncio.sleep(0.05)
    for key in keys:
        await stage.start(key)
        await stage.end(key)
    async with asyncio.timeout(20):
        records = await waiting
    assert [record.uuid for record in records if record] == [key.uuid for key in keys]


async def test_a_retry_is_no_end(stage: Scene) -> None:
    """Only the last attempt's is."""
    key = await stage.task("a", retries=1)
    waiting = asyncio.create_task(stage.client.wait([key.uuid]))
    await stage.start(key)
    await stage.end(key, Outcome.FAILED, 1)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await stage.start(key, 2)
    await stage.end(key, attempt=2)
    async with asyncio.timeout(10):
        (record,) = await waiting
    assert record is not None
    assert record.attempt == 2


async def test_a_cleared_task_is_waited_for_no_longer(stage: Scene) -> None:
    """It is given without a record."""
    key = await stage.task("a")
    waiting = asyncio.create_task(stage.client.wait([key.uuid]))
    await asyncio.sleep(0.05)
    await stage.clear(key)
    async with asyncio.timeout(10):
        assert await waiting == [None]


async def test_one_unreadable_record_ends_no_wait_for_others(stage: Scene) -> None:
    """All others are given as they end; then it is said which one nobody can read."""
    running, broken = await stage.task("a"), await stage.task("b")
    await stage.spoil(broken)
    found: list[str] = []

    async def wait() -> None:
        async for ended in stage.client.ended([broken.uuid, running.uuid]):
            found.append(ended.uuid)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await stage.start(running)
    await stage.end(running)
    with pytest.raises(RecordCorrupt, match=broken.uuid):
        await asyncio.wait_for(waiting, 10)
    assert found == [running.uuid]


async def test_a_lost_task_counts_as_ended(stage: Scene) -> None:
    """Whoever waits decides what a provisional loss is worth."""
    key = await stage.task("a")
    await stage.start(key)
    await stage.lose(key)
    (record,) = await stage.client.wait([key.uuid])
    assert record is not None
    assert record.provisional


async def test_a_wait_can_run_out(stage: Scene) -> None:
    """It says how many are left; the tasks go on."""
    done, running = await stage.run("a"), await stage.task("b")
    with pytest.raises(WaitTimedOut, match="1 of 2"):
        await stage.client.wait([done.uuid, running.uuid], timeout=0.05)


async def test_nobody_waits_for_what_does_not_exist(stage: Scene) -> None:
    """An id that no task has is an error before anything is waited for."""
    with pytest.raises(NotFound):
        await stage.client.wait(["01990000-0000-7000-8000-000000000000"])


async def test_a_bus_that_is_away_for_long_ends_no_wait(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that got no answer is repeated after the next silence; so are those of a reader of output."""
    monkeypatch.setattr("qme.client.following.patient.__defaults__", (0.02,))
    key = await stage.task("a")
    looked = asyncio.Event()
    failures = 0
    ended = False

    async def first(leader: bool) -> Message | None:
        if leader:
            looked.set()
        return None

    async def away(leader: bool) -> Message | None:
        nonlocal failures, ended
        if failures < 6:
            failures += leader
            raise BusUnavailable
        if not ended:
            ended = True
            await stage.start(key)
            await stage.write(key, b"hi\n")
            await stage.end(key)
        return None

    output = stage.client.output(key.uuid)
    async with asyncio.timeout(20), output.following() as pieces:
        stage.reader.before_last = first
        waiting = asyncio.create_task(stage.client.wait([key.uuid]))
        await looked.wait()
        stage.reader.before_last = away
        read = [piece async for piece in pieces(None)]
        (record,) = await waiting
    assert (failures, record.outcome if record else None) == (6, Outcome.SUCCESS)
    assert [getattr(piece, "data", None) for piece in read] == [b"hi\n"]


async def test_a_lost_event_of_many_is_made_good_on_a_busy_bus(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many are waited for by everybody's events: that others' never cease must not hide that these have."""
    monkeypatch.setattr(waiting, "patient", partial(patient, silence=0.3))
    keys = [await stage.task("a") for _ in range(201)]
    other = await stage.task("b")
    stage.reader.hears = lambda message: message.subject.endswith(other.uuid)
    waiting_ = asyncio.create_task(stage.client.wait([key.uuid for key in keys]))
    await asyncio.sleep(0.05)
    for key in keys:
        await stage.start(key)
        await stage.end(key)

    async def chatter() -> None:
        while True:
            subject = subjects.change_subject(str(other))
            await stage.bus.publish(subject, b"", message_id=uuid4().hex, headers={})
            await asyncio.sleep(0.02)

    talking = asyncio.create_task(chatter())
    async with asyncio.timeout(20):
        assert None not in await waiting_
    talking.cancel()
