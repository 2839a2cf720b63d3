"""A bus with submitters on it: the in-memory one and a real NATS server, under the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from qme.bus.jetstream import JetStreamBus
from qme.bus.kv import Bucket
from qme.bus.memory import MemoryServer
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.executors import Approval, Definition, Heartbeat
from qme.contracts.messages import Submission
from qme.contracts.subjects import TaskKey, definition_key, heartbeat_key
from qme.contracts.tasks import TaskRecord
from qme.lifecycle import Event, advance
from qme.settings import Settings
from qme.testing.nats import PASSWORD, USER, NatsServer
from qme_submitter.changes import Asker
from qme_submitter.process import Submitter

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ANN = Asker("ann")
BOB = Asker("bob")
OPERATOR = Asker("op", operator=True)


def submission(*argv: str, **changed: object) -> Submission:
    """Describe a task with a new uuid."""
    return Submission(uuid=str(uuid_utils.uuid7()), argv=argv or ("true",)).model_copy(update=changed)


async def eventually(holds: Callable[[], Awaitable[Any]], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - it is a question to the bus, which rings no bell
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run what runs until it is cancelled; what fails before its end fails the test."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
        for task in tasks:
            if task.done():
                await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Watched:
    """A bus that notes what is asked of it: the method, and the subject or stream."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.calls: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bus, name)

        def noted(*args: Any, **options: Any) -> Any:
            self.calls.append((name, str(args[0]) if args else ""))
            return method(*args, **options)

        return noted if callable(method) else method


@dataclass
class World:
    """A bus, and what tests do on it that workers would."""

    connect: Callable[[str], Awaitable[Bus]]
    settings: Settings
    bus: Bus = field(init=False)

    async def submitter(self, bus: Any = None) -> Submitter:
        """Start a submitter that knows what is on the bus; it serves nothing yet."""
        one = Submitter(bus or await self.connect("submitter"), self.settings)
        await one.registry.refresh(full=True)
        return one

    async def define(
        self,
        executor: str,
        pool: str,
        matchstring: str | None = None,
        *,
        lost_by_silence: bool = True,
        resources: bool = False,
    ) -> None:
        """Advertise an executor as its worker does, approved where it has to be."""
        definition = Definition(
            executor=executor,
            pool=pool,
            matchstring=matchstring,
            account="svc",
            users=("*",),
            updated=NOW,
            lost_by_silence=lost_by_silence,
            resources=resources,
        )
        bucket = Bucket(self.bus, subjects.BUCKET_EXECUTORS, Definition)
        await bucket.put(definition_key(executor, pool), definition)
        if not definition.personal:
            approval = Approval(
                matchstring=matchstring, priority=0, account="svc", users=("*",), by="op", at=NOW
            )
            approvals = Bucket(self.bus, subjects.BUCKET_EXECUTORS, Approval)
            await approvals.put(subjects.approval_key(executor, pool), approval)

    async def beat(self, executor: str, pool: str, worker: str, interval: float = 10.0) -> None:
        """Send a worker's heartbeat."""
        beat = Heartbeat(
            executor=executor,
            pool=pool,
            worker=worker,
            host="h",
            pid=1,
            version="0",
            slots=1,
            active=0,
            started=NOW,
            at=NOW,
            interval=interval,
        )
        bucket = Bucket(self.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
        await bucket.put(heartbeat_key(executor, pool, worker), beat, ttl=3 * interval)

    async def record(self, uuid: str) -> TaskRecord:
        """Read a task's record."""
        bucket = Bucket(self.bus, subjects.BUCKET_TASKS, TaskRecord)
        entry = await bucket.get(subjects.any_key(uuid), leader=True)
        assert entry is not None
        return entry.value

    async def advance(self, uuid: str, *events: Event) -> TaskRecord:
        """Change a task's record as its worker does."""
        bucket = Bucket(self.bus, subjects.BUCKET_TASKS, TaskRecord)
        entry = await bucket.get(subjects.any_key(uuid), leader=True)
        assert entry is not None
        record = entry.value
        for event in events:
            record = advance(record, event).record
        await bucket.update(entry.key, record, entry.revision)
        return record

    async def stored(self, stream: str) -> list[str]:
        """Name the subjects of a stream's messages, one for each message."""
        return [message.subject async for message in self.bus.read(stream)]

    async def queue(self) -> list[str]:
        """Name the tasks in the queue by uuid, one for each message."""
        return [subject.rsplit(".", 1)[1] for subject in await self.stored(subjects.TASKS)]

    async def lose_message(self, key: TaskKey) -> None:
        """Lose the queue message of a task."""
        await self.bus.purge(subjects.TASKS, subjects.queue_subject(key))


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.nats)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A bus with its streams, and a shell that takes everybody's commands."""
    settings = Settings(home=tmp_path, janitor_interval=0.2, janitor_grace=0.1, publish_retry=5.0)
    async with AsyncExitStack() as stack:
        connect = _memory() if request.param == "memory" else _nats(stack, tmp_path)

        async def connected(user: str) -> Bus:
            bus = await connect(user)
            stack.push_async_callback(bus.close)
            return bus

        one = World(connected, settings)
        one.bus = await connected("tester")
        await one.submitter()
        await one.define("shell", "default")
        yield one


def _memory() -> Callable[[str], Awaitable[Bus]]:
    server = MemoryServer()

    async def connect(user: str) -> Bus:
        return server.connect(user)

    return connect


def _nats(stack: AsyncExitStack, folder: Path) -> Callable[[str], Awaitable[Bus]]:
    server = stack.enter_context(NatsServer(folder / "nats"))

    async def connect(user: str) -> Bus:
        login = {"user": USER, "password": PASSWORD}
        return await JetStreamBus.open(
            [server.url], login, user=user, name=user, connect_timeout=5.0, publish_retry=5.0
        )

    return connect
