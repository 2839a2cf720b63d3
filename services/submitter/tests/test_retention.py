"""What ended long ago is removed, a piece at a time, and only when two clocks agree that it was long ago."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qme.contracts import subjects
from qme.contracts.subjects import TaskKey, log_subject
from qme.contracts.tasks import Outcome
from qme.lifecycle import Claimed, Ended, Rerun
from qme_submitter import retention
from qme_submitter.process import Submitter

from .conftest import NOW, Watched, World, eventually, running, submission

#: seconds; records are older than that once they were waited for
KEEP = 0.2


@pytest.fixture(autouse=True)
def _keeps_records_for_a_moment(world: World) -> None:
    world.settings = replace(world.settings, records_keep=KEEP)


async def ended(world: World, one: Submitter, *, finished: datetime | None = None, **changed: Any) -> TaskKey:
    """Have a task that ended, with output."""
    task = submission("echo", "hi", **changed)
    await one.acceptor.accept(task, "ann")
    key = TaskKey("shell", "default", task.uuid)
    await world.lose_message(key)
    end = Ended(1, Outcome.SUCCESS, finished or datetime.now(UTC), data={"returncode": 0})
    await world.advance(task.uuid, Claimed("w", "n", 1, NOW), end)
    await world.bus.append(log_subject(key, 1, "stdout"), b"hi\n")
    return key


async def left(world: World) -> dict[str, list[str]]:
    """Say which tasks the bus still knows, by where; markers of removed ones don't count."""
    names = {}
    for stream in (subjects.BUCKET_TASKS, subjects.BUCKET_SPECS):
        names[stream] = [
            message.subject[-36:]
            async for message in world.bus.read(subjects.bucket_stream(stream))
            if message.data
        ]
    return {**names, "logs": [name.split(".")[4] for name in await world.stored(subjects.LOGS)]}


async def test_the_janitor_removes_what_ended_long_ago_and_nothing_else(world: World) -> None:
    """Record, spec and output go; a younger end, a task that waits and one that runs stay."""
    one = await world.submitter()
    old = await ended(world, one)
    waiting, at_work = submission("sleep", "1"), submission("sleep", "2")
    for task in (waiting, at_work):
        await one.acceptor.accept(task, "ann")
    await world.advance(at_work.uuid, Claimed("w", "n", 1, NOW))
    await asyncio.sleep(KEEP)
    young = await ended(world, one, finished=datetime.now(UTC) + timedelta(days=1))
    async with running(one.janitor.run()):
        await eventually(lambda: _is_gone(world, old.uuid))
    assert await left(world) == {
        subjects.BUCKET_TASKS: [waiting.uuid, at_work.uuid, young.uuid],
        subjects.BUCKET_SPECS: [waiting.uuid, at_work.uuid, young.uuid],
        "logs": [young.uuid],
    }
    assert await world.queue() == [waiting.uuid, at_work.uuid]


async def _is_gone(world: World, uuid: str) -> bool:
    return all(uuid not in uuids for uuids in (await left(world)).values())


async def test_odd_output_keeps_nothing_from_being_removed(world: World) -> None:
    """A worker may write whatever it likes below its own pool, attempts that are no numbers too."""
    one = await world.submitter()
    old = await ended(world, one)
    await world.bus.append("qme.logs.shell.default.odd.first.stdout", b"x")
    await asyncio.sleep(KEEP)
    assert await one.retention.apply() == 1
    assert await _is_gone(world, old.uuid)


@pytest.mark.parametrize("wrong", ["worker", "submitter"])
async def test_one_clock_that_is_wrong_removes_nothing(world: World, wrong: str) -> None:
    """A worker in 1970, or a submitter in 2080, would else empty the bus."""
    world.settings = replace(world.settings, records_keep=3600.0)
    one = await world.submitter()
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    key = await ended(world, one, finished=long_ago if wrong == "worker" else None)
    if wrong == "submitter":
        one.buckets.clock = lambda: datetime.now(UTC) + timedelta(days=20_000)
    async with running(one.janitor.run()):
        await eventually(lambda: world.bus.last(*_lease()))
        assert await one.retention.apply() == 0
    assert (await left(world))[subjects.BUCKET_TASKS] == [key.uuid]


async def test_an_end_in_the_future_is_not_long_ago(world: World) -> None:
    """A worker whose clock was ahead: its task is kept for as long as it says."""
    one = await world.submitter()
    await ended(world, one, finished=datetime.now(UTC) + timedelta(days=1))
    await asyncio.sleep(KEEP)
    assert await one.retention.apply() == 0


def _lease() -> tuple[str, str]:
    bucket = subjects.BUCKET_CONTROL
    return subjects.bucket_stream(bucket), subjects.bucket_subject(bucket, subjects.LEADER_KEY)


async def test_nothing_is_removed_where_records_are_kept_for_ever(world: World) -> None:
    """And nothing is asked of the bus for it."""
    world.settings = replace(world.settings, records_keep=0.0)
    watched = Watched(world.bus)
    one = await world.submitter(watched)
    await ended(world, one)
    watched.calls.clear()
    assert (await one.retention.apply(), watched.calls) == (0, [])


async def test_much_that_is_old_goes_in_pieces_of_bounded_cost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One piece a round, so that the other chores have their turn; purges only where there is output."""
    monkeypatch.setattr(retention, "PIECE", 4)
    watched = Watched(world.bus)
    one = await world.submitter(watched)
    keys = [await ended(world, one) for _ in range(6)]
    for key in keys[:3]:
        await world.bus.purge(subjects.LOGS, subjects.log_filter(key.uuid))
    await asyncio.sleep(KEEP)
    watched.calls.clear()
    assert await one.retention.apply() == 4
    counted = Counter(method for method, _ in watched.calls)
    # the time, the records, who has output; then for each record, spec, queue and one purge of output
    assert counted == {"last": 1 + 4, "read": 1, "subjects": 1, "append": 8, "purge": 4 + 1}
    assert (await one.retention.apply(), await one.retention.apply()) == (2, 0)
    assert await left(world) == {subjects.BUCKET_TASKS: [], subjects.BUCKET_SPECS: [], "logs": []}


async def test_a_task_that_is_rerun_meanwhile_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is removed at the revision that was judged, or not at all."""
    one = await world.submitter()
    key = await ended(world, one)
    await asyncio.sleep(KEEP)
    decide = one.changes.removal.decide

    async def late(task: TaskKey, revision: int) -> None:
        await world.advance(key.uuid, Rerun("ann", datetime.now(UTC), 1))
        await decide(task, revision)

    monkeypatch.setattr(one.changes.removal, "decide", late)
    await one.retention.apply()
    assert (await world.record(key.uuid)).attempt == 2
    assert await _spec_is_there(world, key)


async def _spec_is_there(world: World, key: TaskKey) -> bool:
    return key.uuid in (await left(world))[subjects.BUCKET_SPECS]
