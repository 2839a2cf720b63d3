"""Writes task records into the bucket of a local stack, made like one that a real task left there. No measuring.

Straight to the bucket, since 100,000 commands would take an hour; each write has the headers that tell of its change.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from qme.bus.kv import Bucket
from qme.client.connect import open_bus
from qme.contracts import subjects
from qme.contracts.tasks import Outcome, Status, TaskRecord, event_headers
from qme.errors import Conflict
from qme.settings import Settings

#: writes under way at a time
_GATE = 128
#: a task in so many fails
_FAILS = 13
_LINE = "step {n} of sample {sample}: residual 0.0{n}31, 512 rows kept, 3 dropped\n"


def uuid_at(moment: datetime) -> str:
    """Give a UUIDv7 of that time."""
    milliseconds = int(moment.timestamp() * 1000)
    number = milliseconds << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) | 7 << 76
    return str(UUID(int=number & ~(3 << 62) | 2 << 62))


def ended(like: TaskRecord, number: int, created: datetime) -> TaskRecord:
    """Give a task that ended, with eight lines of output."""
    fails = number % _FAILS == 0
    started = created + timedelta(seconds=number % 60)
    output = [_LINE.format(n=n, sample=number) for n in range(8)]
    data = {**like.data, "output": output, "returncode": int(fails)}
    data |= {"error": ["no such file: x.fits\n"] if fails else []}
    return like.model_copy(
        update={
            "uid": f"{like.executor}-{uuid_at(created)}",
            "command": f"./analyse --sample {number} data/{number % 97}.fits",
            "user": f"user{number % 20}",
            "labels": {"sample": str(number), "run": f"r{number % 50}"},
            "outcome": Outcome.FAILED if fails else Outcome.SUCCESS,
            "created": created,
            "started": started,
            "finished": started + timedelta(seconds=1 + number % 600),
            "data": data,
        }
    )


@asynccontextmanager
async def records(settings: Settings) -> AsyncIterator[Bucket[TaskRecord]]:
    """Give the stack's bucket of records."""
    bus = await open_bus(settings, "bench")
    try:
        yield Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
    finally:
        await bus.close()


async def seed(settings: Settings, like: TaskRecord, numbers: range) -> None:
    """Write tasks that were created within the last day, the last of them a moment ago."""
    gate, now = asyncio.Semaphore(_GATE), datetime.now(UTC)
    async with records(settings) as bucket:

        async def put(number: int) -> None:
            age = 86_400 * (1 - number / numbers.stop)
            record = ended(like, number, now - timedelta(seconds=age + 700))
            async with gate:
                await bucket.create(str(record.key), record, headers=event_headers(record, "bench"))

        for start in range(numbers.start, numbers.stop, 2_000):
            await asyncio.gather(*map(put, range(start, min(start + 2_000, numbers.stop))))


async def churn(settings: Settings, like: TaskRecord, rate: float, stop: asyncio.Event) -> None:
    """Make so many changes a second until told to stop: tasks that wait, then run, then end."""
    async with records(settings) as bucket:
        going: set[asyncio.Task[None]] = set()
        for number in count():
            if stop.is_set():
                break
            task = asyncio.create_task(_live(bucket, like, number))
            going.add(task)
            task.add_done_callback(going.discard)
            await asyncio.sleep(3 / rate)
        await asyncio.gather(*going)


async def _live(bucket: Bucket[TaskRecord], like: TaskRecord, number: int) -> None:
    now = datetime.now(UTC)
    last = ended(like, number, now)
    waiting = {"status": Status.QUEUED, "outcome": None, "started": None, "finished": None, "claim": None}
    # Put off, so that no submitter hands it to a worker.
    off = {"released": None, "not_before": now + timedelta(days=1)}
    first = last.model_copy(update={**waiting, **off, "worker": None, "data": {}})
    revision = await bucket.create(str(first.key), first, headers=event_headers(first, "bench"))
    await asyncio.sleep(1.0)
    begun = datetime.now(UTC)
    running = last.model_copy(
        update={"status": Status.RUNNING, "outcome": None, "started": begun, "finished": None}
    )
    revision = await bucket.update(str(first.key), running, revision, headers=event_headers(running, "bench"))
    await asyncio.sleep(2.0)
    last = last.model_copy(update={"started": begun, "finished": datetime.now(UTC)})
    with suppress(Conflict):  # a submitter may have given it up: it runs nowhere
        await bucket.update(str(first.key), last, revision, headers=event_headers(last, "bench"))
