"""The audit trail: every state of every task, once, whoever copies it and however late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from qme.bus.connect import connect
from qme.bus.kv import Bucket
from qme.bus.memory import MemoryServer
from qme.bus.port import Bus
from qme.bus.topology import streams
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import HEADER_OUTCOME, HEADER_STATUS, Outcome, TaskRecord, TaskSpec, event_headers
from qme.lifecycle import Claimed, Ended, Event, Released, Started, advance, new_record
from qme.settings import Settings
from qme.testing.nats import NatsServer
from qme_submitter.trail import Trail

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = [TaskKey("shell", "u-ann", f"0199aaaa-0000-7000-8000-00000000000{number}") for number in range(4)]
LIFE: tuple[Event, ...] = (Claimed("w1", "n", 1, NOW), Started(1, NOW), Ended(1, Outcome.SUCCESS, NOW))


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """A bus of either kind, set up, with nobody on it."""
    async with _memory() if request.param == "memory" else _nats(request) as made:
        await made.ensure(streams(Settings()))
        yield made


@asynccontextmanager
async def _memory() -> AsyncIterator[Bus]:
    yield MemoryServer().connect("submitter")


@asynccontextmanager
async def _nats(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    server: NatsServer = request.getfixturevalue("own_nats_server")
    made = await connect(Settings(user="submitter"), url=server.url, creds=server.creds, name="test")
    try:
        yield made
    finally:
        await made.close()


async def live(bus: Bus, key: TaskKey) -> None:
    """Write a task's whole life, each state at the revision before, as submitter and worker do."""
    records = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
    record = new_record(TaskSpec(uuid=key.uuid, user="ann", argv=("true",)), key, NOW)
    record = advance(record, Released(NOW)).record
    revision = await records.create(str(key), record, headers=event_headers(record, "ann"))
    for event in LIFE:
        record = advance(record, event).record
        if not isinstance(event, Claimed):
            revision = await records.update(str(key), record, revision, headers=event_headers(record, "w1"))


async def story(bus: Bus, key: TaskKey) -> list[str]:
    """The states that the trail holds of a task."""
    pattern = subjects.event_filter(key.uuid)
    return [
        message.headers.get(HEADER_OUTCOME) or message.headers[HEADER_STATUS]
        async for message in bus.read(subjects.EVENTS, pattern)
    ]


async def until_told(bus: Bus, wanted: list[str]) -> None:
    """Wait until the trail holds this story of each task."""
    async with asyncio.timeout(10):
        async with bus.follow(subjects.EVERY_EVENT) as noted:
            while [await story(bus, key) for key in KEYS] != [wanted] * len(KEYS):
                await anext(noted)


async def test_every_state_is_noted_once_though_two_copy(bus: Bus) -> None:
    """Two submitters side by side leave one event of each change, of several tasks at once."""
    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(Trail(bus).keep()) for _ in range(2)]
        await asyncio.sleep(0.2)  # both follow
        await asyncio.gather(*(live(bus, key) for key in KEYS))
        await until_told(bus, ["queued", "running", "success"])
        for keeper in keepers:
            keeper.cancel()


async def test_what_came_of_a_task_is_never_missing(bus: Bus) -> None:
    """Tasks that lived while no submitter was there are in the trail with their last state."""
    await asyncio.gather(*(live(bus, key) for key in KEYS))
    async with asyncio.TaskGroup() as group:
        keeper = group.create_task(Trail(bus).keep())
        await until_told(bus, ["success"])
        keeper.cancel()
