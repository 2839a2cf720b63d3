"""`Queue`: the client for scripts and interactive sessions, without async. A thread of its own talks to the bus."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from qme.client.api import AsyncClient
from qme.client.connect import connect
from qme.client.control import checked
from qme.client.listing import Listing, Wanted
from qme.client.submission import Options
from qme.client.task import Task
from qme.contracts.tasks import TaskRecord
from qme.errors import QmeError
from qme.settings import Settings, load

T = TypeVar("T")

#: runs a call on the client in the queue's own thread
Call = Callable[[AsyncClient], Coroutine[Any, Any, T]]


class Queue:
    """Your tasks. Connects when first used; `close`, or leaving a ``with`` block, disconnects.

    Safe to use from several threads. Every method raises `qme.errors.QmeError`s only.

        queue = Queue()
        task = queue.run("echo hello moto")
        print(task.run_action("output"))
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Prepare; nothing is connected yet. Without settings, those of the command line are loaded."""
        self.settings = settings or load().settings
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._stack = AsyncExitStack()

    # -- the original's verbs ----------------------------------------------------------------------------------------
    def run(self, command: str | Sequence[str], message: str | None = None) -> Task:
        """Submit a command, wait until it has ended, and give the task. Its exit code is no error."""
        return self.submit(command, Options(message=message)).wait()

    def submit(self, command: str | Sequence[str], options: Options | None = None) -> Task:
        """Submit a command and give the task at once."""

        async def submit(client: AsyncClient) -> TaskRecord:
            result = await client.submit(command, options)
            return result.record or await client.records.need(result.uuid)

        return Task(self.call, self.call(submit))

    def list(self, executor: str | None = None) -> Sequence[Task]:
        """List your tasks, newest first; of one executor where it is named."""

        async def listed(client: AsyncClient) -> Listing:
            return await client.list(Wanted(executor=executor, user=client.user))

        return [Task(self.call, record) for record in self.call(listed).records]

    def get(self, id: str | None = None) -> Task:  # noqa: A002 - the original's name
        """Give a task: by its id or a unique part of it; your last one without."""
        return Task(self.call, self.call(lambda client: client.get(id, output=False)))

    def rerun(self, id: str | None = None) -> Task:  # noqa: A002 - the original's name
        """Start another attempt of a task that has ended, and wait until it has."""

        async def rerun(client: AsyncClient) -> TaskRecord:
            record = await client.get(id, output=False)
            for result in await client.control.rerun(await client.targets([record.uuid])):
                checked(result)
            return record

        return Task(self.call, self.call(rerun)).wait()

    def clear(self, target: str | None = None, noprompt: bool = False) -> int:
        """Remove ended tasks: one, those of an executor, or all of yours; gives how many.

        Asks on a terminal first, unless `noprompt`.
        """
        from qme.client.clearing import selection  # only here

        tasks = self.call(lambda client: selection(client, [target] if target else []))
        if not tasks or not (noprompt or _agrees(len(tasks))):
            return 0
        return len([checked(result) for result in self.call(lambda client: client.control.clear(tasks))])

    def search(self, query: str) -> Sequence[Task]:
        """List your tasks in whose command, message or data a regular expression is found."""

        async def search(client: AsyncClient) -> list[TaskRecord]:
            return [record async for record in client.search(query, Wanted(user=client.user))]

        return [Task(self.call, record) for record in self.call(search)]

    # -- the thread --------------------------------------------------------------------------------------------------
    def call(self, function: Call[T]) -> T:
        """Run an async function on the queue's `AsyncClient` and give its result: for everything else that it can."""
        future = self.start(function)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def start(self, function: Call[T]) -> Future[T]:
        """Start an async function on the queue's `AsyncClient` and give its future at once."""
        loop = self._running_loop()

        async def connected() -> T:
            async with self._connecting:
                if self._client is None:
                    self._client = await self._stack.enter_async_context(connect(self.settings, name="queue"))
                client = self._client
            return await function(client)

        return asyncio.run_coroutine_threadsafe(connected(), loop)

    def close(self) -> None:
        """Disconnect; a later call connects again."""
        with self._lock:
            loop, self._loop, self._client = self._loop, None, None
        if loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop, self._connecting = asyncio.new_event_loop(), asyncio.Lock()
                threading.Thread(target=_serve, args=(self._loop,), name="qme", daemon=True).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _agrees(count: int) -> bool:
    try:
        return input(
            f"Clear {count} task{'' if count == 1 else 's'} with all output for good? [y/N] "
        ).strip().lower() in ("y", "yes")
    except EOFError:
        raise QmeError("nobody to ask; say noprompt=True") from None
