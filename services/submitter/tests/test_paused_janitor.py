"""A janitor that stands still in the middle of a chore, while another one leads and the world goes on: no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from qme.bus.port import Ack, Bus
from qme.contracts.messages import Target
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import CancelRequest, Outcome, RetryPolicy, Status
from qme.lifecycle import Claimed, Ended, Returned, Started, Vanished
from qme.worker.claim import refusal
from qme_submitter.process import Submitter
from qme_submitter.silence import Silence

from .conftest import ANN, NOW, World, submission

RECORDS, QUEUE = "$KV.qme_tasks.", "qme.tasks."


class Pausing:
    """A bus on which one write stands still until it is told to go on."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._subject = subject
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def append(self, subject: str, data: bytes, **options: Any) -> Ack:
        """Store a message, perhaps much later."""
        if subject.startswith(self._subject) and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
        return await self._bus.append(subject, data, **options)


@asynccontextmanager
async def paused(world: World, subject: str, *, ahead: float) -> AsyncIterator[Submitter]:
    """A janitor stands still at its first write under a subject; another one, given here, has the block's time."""
    bus = Pausing(await world.connect("submitter"), subject)
    slow, other = await world.submitter(bus), await world.submitter()
    for one in (slow, other):
        one.buckets.clock = lambda: datetime.now(UTC) + timedelta(seconds=ahead)
    looking = asyncio.create_task(slow.janitor.look())
    async with asyncio.timeout(20):
        await bus.reached.wait()
    yield other
    bus.go_on.set()
    await looking


async def accepted(world: World, **spec: Any) -> TaskKey:
    """Submit a task, and lose its message."""
    task = submission("true", **spec)
    record = await (await world.submitter()).acceptor.accept(task, "ann")
    await world.lose_message(record.key)
    return record.key


def failed(attempt: int) -> tuple[Claimed, Started, Ended]:
    """An attempt is claimed, started and fails."""
    return (
        Claimed("w", f"n{attempt}", attempt, NOW),
        Started(attempt, NOW),
        Ended(attempt, Outcome.FAILED, datetime.now(UTC)),
    )


async def test_a_release_that_comes_late_releases_no_later_attempt(world: World) -> None:
    """Attempt 2 was released, ran and failed meanwhile: attempt 3 waits for its own time."""
    key = await accepted(world, retry=RetryPolicy(limit=2, delay=30.0, backoff=10.0))
    await world.advance(key.uuid, *failed(1))
    async with paused(world, RECORDS, ahead=31) as other:
        await other.janitor.look()
        assert await world.queue() == [key.uuid]
        await world.lose_message(key)
        await world.advance(key.uuid, *failed(2))
    record = await world.record(key.uuid)
    assert (record.attempt, record.due, record.not_before is None) == (3, False, False)
    assert await world.queue() == []


async def test_a_message_that_comes_late_starts_nothing(world: World) -> None:
    """The other janitor's message was there first, and the task has ended: the late one is dropped by its worker."""
    key = await accepted(world)
    async with paused(world, QUEUE, ahead=10) as other:
        await other.janitor.look()
        await world.lose_message(key)
        await world.advance(key.uuid, Claimed("w", "n", 1, NOW), Ended(1, Outcome.SUCCESS, NOW))
    assert await world.queue() == [key.uuid]
    assert refusal(await world.record(key.uuid), 1) == "the task has ended"


async def test_a_cancellation_that_comes_late_ends_no_later_attempt(world: World) -> None:
    """The wish was fulfilled by the other janitor, and the task was run again since."""
    key = await accepted(world)
    bucket = (await world.submitter()).buckets.records
    entry = await bucket.get(str(key))
    assert entry is not None
    wish = CancelRequest(by="ann", at=NOW)
    await bucket.update(str(key), entry.value.model_copy(update={"cancel": wish}), entry.revision)
    async with paused(world, RECORDS, ahead=0) as other:
        await other.janitor.look()
        assert (await world.record(key.uuid)).status is Status.CANCELLED
        await other.changes.rerun(Target(uuid=key.uuid), ANN)
    record = await world.record(key.uuid)
    assert (record.attempt, record.due) == (2, True)


async def test_a_verdict_that_comes_late_is_no_verdict(world: World) -> None:
    """Given up by the other janitor, and taken back by its worker since: what runs stays running."""
    key = await accepted(world)
    await world.advance(key.uuid, Claimed("w", "n", 1, NOW), Started(1, NOW))
    now = 0.0
    bus = Pausing(await world.connect("submitter"), RECORDS)
    slow = await world.submitter(bus)
    slow.janitor._silence = Silence(slow.buckets, slow.registry, 2.0, 1.0, lambda: now)
    for _ in range(2):
        await slow.janitor.look()
        now += 1.0
    now += 1.0
    looking = asyncio.create_task(slow.janitor.look())
    async with asyncio.timeout(20):
        await bus.reached.wait()
    await world.advance(key.uuid, Vanished(1, "w", NOW, "silent"), Returned("w", "m", 1, NOW))
    bus.go_on.set()
    await looking
    record = await world.record(key.uuid)
    assert (record.status, record.provisional) == (Status.RUNNING, False)
    assert slow.metrics_registry.get_sample_value("qme_submitter_lost_total") == 0.0
