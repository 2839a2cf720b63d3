"""A bus in memory with one executor's queue, a submitter's few motions, and real workers with real keepers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from uuid_utils import uuid7

from qme.bus import topology
from qme.bus.kv import Bucket, Entry
from qme.bus.memory import MemoryServer
from qme.client.words import needs_shell
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import QueueMessage, TaskRecord, TaskSpec, event_headers
from qme.executor.base import Executor
from qme.executor.commands import Keeper
from qme.executor.spool import Spool
from qme.lifecycle import CancelAsked, Event, Released, advance, new_record
from qme.settings import Settings
from qme.worker import Orders, work

T = TypeVar("T")
USER = "ann"
POOL = subjects.personal_pool(USER)
#: seconds within which a worker leaves
_LEAVES = 20.0


async def until(condition: Callable[[], Awaitable[T | None]], seconds: float) -> T:
    """Wait for a condition and give what it gave. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.02)


class Stage:
    """One executor's pool; everything lies below `home`."""

    def __init__(self, executor: str, home: Path) -> None:
        self._executor = executor
        self._home = home
        self._server = MemoryServer()
        self._bus = self._server.connect(USER)
        self._records = Bucket(self._bus, subjects.BUCKET_TASKS, TaskRecord)
        self._specs = Bucket(self._bus, subjects.BUCKET_SPECS, TaskSpec)
        self.settings = Settings(
            home=home, user=USER, heartbeat=0.25, settle=0.2, term_grace=2.0, log_interval=0.05
        )

    async def __aenter__(self) -> Stage:
        await self._bus.ensure(topology.streams(self.settings))
        await self._bus.ensure_consumer(topology.consumer(self._executor, POOL))
        return self

    async def __aexit__(self, *_: object) -> None:
        for path in (self._home / "local").glob("*/spool/*"):
            keeper = Keeper(Spool(path))
            await keeper.connect()
            for uuid, attempt in keeper.running():
                await keeper.end(uuid, attempt, 0.0)
            await keeper.quit()
            await keeper.close()
        await self._bus.close()

    async def submit(self, argv: tuple[str, ...], **spec_fields: Any) -> TaskKey:
        """Do what a submitter does: spec, record, message."""
        key = TaskKey(self._executor, POOL, str(uuid7()))
        shell = needs_shell(argv, str(self._home))
        spec = TaskSpec(uuid=key.uuid, user=USER, argv=argv, shell=shell, cwd=str(self._home), **spec_fields)
        await self._specs.create(str(key), spec)
        record = advance(new_record(spec, key, _now()), Released(_now())).record
        await self._records.create(str(key), record, headers=event_headers(record, USER))
        message = QueueMessage(uuid=key.uuid, attempt=1).model_dump_json().encode()
        await self._bus.append(subjects.queue_subject(key), message)
        return key

    async def cancel(self, key: TaskKey) -> None:
        """Write the wish; the worker finds it with its next heartbeat."""
        entry = await self._entry(key)
        await self._write(key, entry, CancelAsked(USER, _now()))

    async def record(
        self, key: TaskKey, condition: Callable[[TaskRecord], object], patience: float
    ) -> TaskRecord:
        """Wait for a record to be so. Raises TimeoutError."""

        async def look() -> TaskRecord | None:
            record = (await self._entry(key)).value
            return record if condition(record) else None

        return await until(look, patience)

    @asynccontextmanager
    async def worker(self, executor: Executor[Any]) -> AsyncIterator[None]:
        """Run a worker; stopped, as by SIGTERM, when the context ends."""
        orders = Orders()
        connection = self._server.connect(USER)
        running = asyncio.create_task(work(executor, self.settings, connection, orders=orders))
        try:
            yield
        finally:
            orders.stop.set()
            async with asyncio.timeout(_LEAVES):
                await running
            await connection.close()

    async def _entry(self, key: TaskKey) -> Entry[TaskRecord]:
        found = await self._records.get(str(key), leader=True)
        if found is None:
            raise AssertionError(f"the record of {key.taskid} is gone")
        return found

    async def _write(self, key: TaskKey, entry: Entry[TaskRecord], event: Event) -> None:
        after = advance(entry.value, event).record
        await self._records.update(str(key), after, entry.revision, headers=event_headers(after, USER))


def _now() -> datetime:
    return datetime.now(UTC)
