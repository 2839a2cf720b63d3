"""A bus in memory with tasks on it, played by hand: what submitters and workers would write, one step at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from qme.bus import topology
from qme.bus.kv import Bucket
from qme.bus.memory import MemoryServer
from qme.bus.port import Bus, Message
from qme.client import AsyncClient
from qme.client.origin import new_uuid
from qme.contracts import subjects
from qme.contracts.output import NAMES, STREAMS
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import (
    HEADER_OFFSET,
    LastTask,
    Outcome,
    RetryPolicy,
    TaskRecord,
    TaskSpec,
    event_headers,
)
from qme.lifecycle import Claimed, Ended, Event, Released, Rerun, Started, Vanished, advance, new_record
from qme.settings import Settings

USER = "ann"
WORKER = "w1"


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class ReaderBus:
    """A reader's connection on which a test can lose live messages, lag behind the leader, or act between two steps."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        #: live messages that it says no to are lost
        self.hears: Callable[[Message], bool] = lambda message: True
        #: yield None (as after a reconnect) instead of a lost message
        self.notices = False
        #: called before each read of a last message; what it gives (if anything) is a lagging replica's answer
        self.before_last: Callable[[bool], Awaitable[Message | None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def last(self, stream: str, subject: str, *, leader: bool = False) -> Message | None:
        """Read, after the test has had its way."""
        hook = self.before_last
        found = await hook(leader) if hook else None
        return found or await self._bus.last(stream, subject, leader=leader)

    @asynccontextmanager
    async def follow(self, *patterns: str) -> AsyncIterator[AsyncIterator[Message | None]]:
        """Follow, with losses."""
        async with self._bus.follow(*patterns) as messages:
            yield self._heard(messages)

    async def _heard(self, messages: AsyncIterator[Message | None]) -> AsyncIterator[Message | None]:
        async for message in messages:
            if message is None or self.hears(message):
                yield message
            elif self.notices:
                yield None


class Scene:
    """One bus, a client on it, and the hands of everybody else."""

    def __init__(self, bus: Bus, reader: Bus, settings: Settings) -> None:
        self.bus = bus
        self.reader = ReaderBus(reader)
        self.settings = settings
        self.client = AsyncClient(self.reader, settings)
        self.records = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
        self.specs = Bucket(bus, subjects.BUCKET_SPECS, TaskSpec)
        self._offsets: dict[tuple[str, int, str], int] = {}

    async def task(
        self,
        *argv: str,
        executor: str = "shell",
        user: str = USER,
        created: datetime | None = None,
        uuid: str | None = None,
        retries: int = 0,
        **spec: Any,
    ) -> TaskKey:
        """Make a task that waits for a worker."""
        key = TaskKey(executor, f"u-{user}", uuid or new_uuid())
        made = TaskSpec(
            uuid=key.uuid,
            user=user,
            argv=argv or ("true",),
            retry=RetryPolicy(limit=retries, delay=0.0),
            **spec,
        )
        await self.specs.create(str(key), made)
        record = advance(new_record(made, key, created or now()), Released(now())).record
        await self.records.create(str(key), record, headers=event_headers(record, user))
        return key

    async def last_is(self, key: TaskKey) -> None:
        """Note that this is what the user submitted last."""
        await Bucket(self.bus, subjects.BUCKET_USERS, LastTask).put(USER, LastTask(uuid=key.uuid, at=now()))

    async def apply(self, key: TaskKey, *events: Event) -> TaskRecord:
        """Apply events to the record and write it."""
        entry = await self.records.get(str(key), leader=True)
        assert entry is not None
        record = entry.value
        for event in events:
            record = advance(record, event).record
        await self.records.update(str(key), record, entry.revision, headers=event_headers(record, WORKER))
        return record

    async def start(self, key: TaskKey, attempt: int = 1) -> None:
        """Claim and start an attempt."""
        record = await self.records.get(str(key), leader=True)
        assert record is not None
        released = () if record.value.released else (Released(now()),)
        await self.apply(
            key, *released, Claimed(WORKER, uuid4().hex, attempt, now()), Started(attempt, now())
        )

    async def write(self, key: TaskKey, data: bytes, stream: str = "stdout", attempt: int = 1) -> None:
        """Write output."""
        place = (key.uuid, attempt, stream)
        offset = self._offsets.get(place, 0)
        headers = {HEADER_OFFSET: str(offset)}
        await self.bus.append(subjects.log_subject(key, attempt, stream), data, headers=headers)
        self._offsets[place] = offset + len(data)

    async def end(
        self,
        key: TaskKey,
        outcome: Outcome = Outcome.SUCCESS,
        code: int | None = 0,
        attempt: int = 1,
        **data: Any,
    ) -> TaskRecord:
        """End an attempt, with the byte counts of what was written."""
        for stream in STREAMS:
            written = self._offsets.get((key.uuid, attempt, stream), 0)
            data.setdefault(NAMES[stream].written, written)
            data.setdefault(NAMES[stream].logged, written)
            data.setdefault(NAMES[stream].excerpt, [])
            data.setdefault(NAMES[stream].truncated, data[NAMES[stream].written] > 0)
        if code is not None:
            data["returncode"] = code
        return await self.apply(key, Ended(attempt, outcome, now(), data))

    async def run(self, *argv: str, output: bytes = b"", **task: Any) -> TaskKey:
        """Make a task and run it to its end."""
        key = await self.task(*argv, **task)
        await self.start(key)
        if output:
            await self.write(key, output)
        await self.end(key)
        return key

    async def lose(self, key: TaskKey) -> None:
        """Conclude from silence that a task is lost."""
        await self.apply(key, Vanished(1, WORKER, now(), "its worker is silent"))

    async def rerun(self, key: TaskKey) -> None:
        """Begin another attempt."""
        await self.apply(key, Rerun(USER, now()))

    async def clear(self, key: TaskKey) -> None:
        """Remove a record."""
        entry = await self.records.get(str(key), leader=True)
        assert entry is not None
        await self.records.delete(str(key), entry.revision)

    async def spoil(self, key: TaskKey) -> None:
        """Make a record unreadable."""
        await self.bus.append(subjects.bucket_subject(subjects.BUCKET_TASKS, str(key)), b'{"uid": 7')


@asynccontextmanager
async def scene(settings: Settings) -> AsyncIterator[Scene]:
    """Set one up."""
    server = MemoryServer()
    bus, reader = server.connect(USER), server.connect(USER)
    await bus.ensure(topology.streams(settings))
    try:
        yield Scene(bus, reader, settings)
    finally:
        await reader.close()
        await bus.close()
