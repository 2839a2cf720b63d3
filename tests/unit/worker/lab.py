"""A bus with one pool on it, what a submitter does to it in short words, and real workers with real keepers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from uuid_utils import uuid7

from qme.bus import topology
from qme.bus.kv import Bucket, Entry
from qme.bus.memory import MemoryServer
from qme.bus.port import Ack, Bus, Expect
from qme.contracts import subjects
from qme.contracts.messages import ActionRequest
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import HEADER_OFFSET, QueueMessage, TaskRecord, TaskSpec, event_headers
from qme.errors import BusUnavailable, NotFound
from qme.executor.base import Executor
from qme.executor.spool import Spool
from qme.lifecycle import CancelAsked, Event, Nudge, Released, advance, new_record
from qme.settings import Settings
from qme.worker import Orders, work
from qme.worker.spooled import is_reported, spool_path
from qme_executor_shell import ShellExecutor, ShellSettings

T = TypeVar("T")
USER = "ann"
POOL = "u-ann"


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


async def until(condition: Callable[[], Awaitable[T | None]], seconds: float = 20.0) -> T:
    """Wait for a condition and give what it gave."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.02)


class FaultyBus:
    """A connection on which `fault` may spoil appends: it is called before and after each one with the subject."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.before: Callable[[str], None] = lambda subject: None
        self.after: Callable[[str], None] = lambda subject: None
        #: message ids are lost on the way, as if the bus had forgotten them
        self.forgets = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def append(
        self,
        subject: str,
        data: bytes,
        *,
        expect: Expect | None = None,
        message_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
    ) -> Ack:
        """Append, or fail as the test wants it."""
        self.before(subject)
        ack = await self._bus.append(
            subject,
            data,
            expect=expect,
            message_id=None if self.forgets else message_id,
            headers=headers,
            ttl=ttl,
        )
        self.after(subject)
        return ack


def once(prefix: str, error: Exception | None = None) -> Callable[[str], None]:
    """Fail for the first subject that begins so."""
    left = [error or BusUnavailable("no answer")]

    def fault(subject: str) -> None:
        if subject.startswith(prefix) and left:
            raise left.pop()

    return fault


def settings_for(home: Path, settle: float = 0.5) -> Settings:
    """Make settings that are quick."""
    return Settings(
        home=home,
        user=USER,
        host="testhost",
        heartbeat=0.25,
        settle=settle,
        lease=10.0,
        term_grace=0.5,
        log_interval=0.05,
        log_chunk=16 << 10,
        publish_retry=2.0,
    )


class Lab:
    """One bus, one pool."""

    def __init__(self, server: MemoryServer | None, bus: Bus, home: Path, executor: str = "shell") -> None:
        """`server`: where more connections come from."""
        self.executor = executor
        self._server = server
        self.bus = bus
        self.home = home
        self.settings = settings_for(home)
        self.records = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
        self.specs = Bucket(bus, subjects.BUCKET_SPECS, TaskSpec)

    @property
    def server(self) -> MemoryServer:
        """The bus's other end."""
        assert self._server is not None
        return self._server

    @property
    def spool(self) -> Spool:
        """The worker's spool."""
        return Spool(spool_path(self.settings, self.executor, POOL))

    async def set_up(self) -> None:
        """Do what a submitter does first."""
        await self.bus.ensure(topology.streams(self.settings))
        await self.bus.ensure_consumer(topology.consumer(self.executor, POOL, ack_wait=2.0))

    # -- submitter ---------------------------------------------------------------------------------------------------
    async def submit(self, *argv: str, **spec: Any) -> TaskKey:
        """Submit a command."""
        key = TaskKey(self.executor, POOL, str(uuid7()))
        made = TaskSpec(uuid=key.uuid, user=USER, argv=argv, **spec)
        await self.specs.create(str(key), made)
        record = advance(new_record(made, key, now()), Released(now())).record
        revision = await self.records.create(str(key), record, headers=event_headers(record, "submitter"))
        await self.enqueue(key, told=Entry(str(key), record, revision))
        return key

    async def enqueue(self, key: TaskKey, attempt: int = 1, *, told: Entry[TaskRecord] | None = None) -> None:
        """Put the queue message, perhaps once more; `told`: with the record as it stood then."""
        message = QueueMessage(uuid=key.uuid, attempt=attempt)
        if told is not None:
            message = message.model_copy(update={"record": told.value, "revision": told.revision})
        await self.bus.append(subjects.queue_subject(key), message.model_dump_json().encode())

    async def change(self, key: TaskKey, event: Event) -> TaskRecord:
        """Apply an event, as a submitter does."""
        entry = await self.entry(key)
        after = advance(entry.value, event)
        await self.records.update(
            str(key), after.record, entry.revision, headers=event_headers(after.record, "submitter")
        )
        for effect in after.effects:
            if isinstance(effect, Nudge):
                await self.ask(key, effect.worker)
        return after.record

    async def cancel(self, key: TaskKey) -> TaskRecord:
        """Ask for the end of a task."""
        return await self.change(key, CancelAsked(USER, now(), reason="enough"))

    async def ask(
        self, key: TaskKey, worker: str, user: str = USER, *, admin: bool = False, **fields: Any
    ) -> Any:
        """Ask a worker; its answer."""
        request = ActionRequest(uuid=key.uuid, expires=now() + timedelta(seconds=10), **fields)
        subject = subjects.action_subject(user, key.executor, key.pool, worker, admin=admin)
        bus = self.bus if user == self.bus.user else self.server.connect(user)
        return json.loads(await bus.request(subject, request.model_dump_json().encode(), timeout=5))

    # -- reader ------------------------------------------------------------------------------------------------------
    async def entry(self, key: TaskKey) -> Entry[TaskRecord]:
        """Read a record."""
        found = await self.records.get(str(key), leader=True)
        assert found is not None
        return found

    async def record(self, key: TaskKey, condition: Callable[[TaskRecord], object]) -> TaskRecord:
        """Wait for a record to be so."""

        async def look() -> TaskRecord | None:
            record = (await self.entry(key)).value
            return record if condition(record) else None

        return await until(look)

    async def ended(self, key: TaskKey) -> TaskRecord:
        """Wait for the end of a task."""
        return await self.record(key, lambda record: record.ended)

    async def begun(self, key: TaskKey) -> None:
        """Wait until the command has been started, and was not ended when this was seen."""
        folder = self.spool.attempt(key.uuid, 1)

        async def look() -> bool:
            token = folder.read_token()
            return token is not None and token.pid is not None

        await until(look)
        assert folder.read_exit() is None

    async def running(self, key: TaskKey) -> TaskRecord:
        """Wait until the command runs, and the record says its pid."""
        return await self.record(key, lambda record: record.data.get("pid"))

    async def chunks(self, key: TaskKey, stream: str = "stdout", attempt: int = 1) -> list[tuple[int, bytes]]:
        """Read the stored chunks of output: offset and bytes."""
        subject = subjects.log_subject(key, attempt, stream)
        return [
            (int(message.headers[HEADER_OFFSET]), message.data)
            async for message in self.bus.read(subjects.LOGS, subject)
        ]

    async def output(self, key: TaskKey, stream: str = "stdout") -> bytes:
        """Read the stored output, which must be in order and whole, nothing of it twice."""
        data = b""
        for offset, chunk in await self.chunks(key, stream):
            assert offset == len(data)
            data += chunk
        return data

    async def queued(self) -> int:
        """Count the queue's messages."""
        return (await self.bus.state(subjects.TASKS)).messages

    async def reported(self, key: TaskKey, attempt: int = 1) -> bool:
        """Tell whether the worker has nothing left to do for an attempt."""
        return is_reported(self.spool.attempt(key.uuid, attempt))

    def starts(self, key: TaskKey) -> int:
        """Count how often a command that appends a line to its `mark` file was started."""
        mark = self.home / key.uuid
        return len(mark.read_text().splitlines()) if mark.exists() else 0

    async def submit_marked(self, script: str, *, queued: bool = True, **spec: Any) -> TaskKey:
        """Submit a shell script that counts its starts; its message, too, unless not `queued` yet."""
        uuid = str(uuid7())
        key = TaskKey("shell", POOL, uuid)
        line = f"echo x >> {self.home}/{uuid}; {script}"
        made = TaskSpec(uuid=uuid, user=USER, argv=(line,), shell=True, **spec)  # noqa: S604 -- a field of the spec
        await self.specs.create(str(key), made)
        record = advance(new_record(made, key, now()), Released(now())).record
        revision = await self.records.create(str(key), record)
        if queued:
            await self.enqueue(key, told=Entry(str(key), record, revision))
        return key

    # -- worker ------------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def worker(
        self,
        executor: Executor[Any] | None = None,
        *,
        bus: Any = None,
        settings: Settings | None = None,
        drain: bool = False,
        slots: int = 4,
    ) -> AsyncIterator[Orders]:
        """Run a worker; stopped, as by SIGTERM, when the context ends."""
        orders = Orders()
        connection = bus or self.server.connect(USER)
        shell = executor or ShellExecutor(ShellSettings(slots=slots))
        running = asyncio.create_task(
            work(shell, settings or self.settings, connection, orders=orders, drain=drain)
        )
        try:
            yield orders
            if running.done():
                await running
        finally:
            orders.stop.set()
            async with asyncio.timeout(20):
                await asyncio.gather(running, return_exceptions=False)
            await connection.close()

    async def clean_up(self) -> None:
        """Leave no process behind."""
        from qme.executor.commands import Keeper

        for path in (self.home / "local").glob("*/spool/*"):
            keeper = Keeper(Spool(path))
            await keeper.connect()
            for uuid, attempt in keeper.running():
                await keeper.end(uuid, attempt, 0.0)
            await keeper.quit()
            await keeper.close()


def encoded(data: bytes) -> str:
    """Spell bytes as a sent file does."""
    return base64.b64encode(data).decode()


__all__ = ["POOL", "USER", "FaultyBus", "Lab", "NotFound", "encoded", "now", "once", "until"]
