"""Many tasks at once: what their removal costs the bus, and what reading them all costs memory.

QME_TEST_TASKS: how many; `make soak` takes 10,000.
"""

from __future__ import annotations

import asyncio
import os
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import uuid_utils

from qme.client.listing import Wanted, stream
from qme.contracts import subjects
from qme.contracts.messages import MAX_ITEMS, ClearTasks, Target
from qme.contracts.subjects import TaskKey, log_subject
from qme.contracts.tasks import Outcome, Status, TaskRecord, TaskSpec
from qme.settings import Settings
from qme_submitter import retention
from qme_submitter.process import Submitter

from .conftest import Watched, World

TASKS = int(os.environ.get("QME_TEST_TASKS", "150"))
#: bytes that the record of each has, nearly
SIZE = 4000

pytestmark = pytest.mark.timeout(120 + TASKS // 10)


async def many(world: World, one: Submitter) -> list[TaskKey]:
    """Put tasks on the bus that have ended, with output."""
    keys = [TaskKey("shell", "default", str(uuid_utils.uuid7())) for _ in range(TASKS)]
    gate, now = asyncio.Semaphore(64), datetime.now(UTC)

    async def put(key: TaskKey) -> None:
        async with gate:
            record = TaskRecord(
                uid=key.taskid,
                executor=key.executor,
                pool=key.pool,
                command="true",
                user="ann",
                created=now,
                finished=now,
                status=Status.COMPLETE,
                outcome=Outcome.SUCCESS,
                data={"output": ["x" * SIZE]},
            )
            await one.buckets.specs.create(str(key), TaskSpec(uuid=key.uuid, user="ann", argv=("true",)))
            await one.buckets.records.create(str(key), record)
            await world.bus.append(log_subject(key, 1, "stdout"), b"x")

    await asyncio.gather(*map(put, keys))
    return keys


async def nothing_is_left(world: World) -> bool:
    """Look that records, specs and output are gone."""
    stored = [
        message
        for bucket in (subjects.BUCKET_TASKS, subjects.BUCKET_SPECS)
        async for message in world.bus.read(subjects.bucket_stream(bucket))
        if message.data
    ]
    return not stored and not await world.stored(subjects.LOGS)


async def test_clearing_many_costs_eight_requests_for_each(world: World) -> None:
    """In requests that a client's patience holds: a thousand tasks each, answered in good time."""
    watched = Watched(world.bus)
    one = await world.submitter(watched)
    keys = await many(world, one)
    patience = Settings(home=world.settings.home).request_timeout
    client = await world.connect("ann")
    async with one.service.serving():
        watched.calls.clear()
        for at in range(0, TASKS, MAX_ITEMS):
            targets = tuple(Target(uuid=key.uuid, attempt=1) for key in keys[at : at + MAX_ITEMS])
            request = ClearTasks(id=str(at), expires=datetime.now(UTC).replace(year=9000), targets=targets)
            begun = time.monotonic()
            subject = subjects.api_subject("ann", "clear")
            answer = await client.request(subject, request.model_dump_json().encode(), timeout=patience)
            assert answer.count(b"taskid") == len(targets)
            assert time.monotonic() - begun < patience / 2
    await one.audit.flush()
    counted = Counter(method for method, _ in watched.calls)
    assert counted["last"] + counted["append"] + counted["purge"] <= 8 * TASKS
    assert await nothing_is_left(world)


async def test_retention_of_many_goes_in_pieces(world: World) -> None:
    """Each piece is small enough for the janitor's other chores to have their turn."""
    world.settings = replace(world.settings, records_keep=0.001)
    one = await world.submitter()
    await many(world, one)
    await asyncio.sleep(0.1)
    removed = []
    while count := await one.retention.apply():
        removed.append(count)
    assert sum(removed) == TASKS
    assert max(removed) <= retention.PIECE
    assert await nothing_is_left(world)


async def test_reading_all_of_them_takes_the_memory_of_a_page(world: World) -> None:
    """An export of a bucket of any size holds a page of it."""
    await many(world, await world.submitter())
    tracemalloc.start()
    try:
        count = 0
        async for _ in stream(world.bus, Wanted()):
            count += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == TASKS
    assert peak < 32 << 20
