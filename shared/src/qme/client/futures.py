"""`Futures`: many commands at once, as `concurrent.futures` has it. How tasks are submitted is in `control`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from contextlib import suppress
from functools import partial

from qme.client import waiting
from qme.client.api import AsyncClient
from qme.client.control import checked
from qme.client.queue import Queue
from qme.client.submission import Options, prepare
from qme.client.task import Task
from qme.contracts import subjects
from qme.contracts.messages import Submission, Target
from qme.errors import NotFound, QmeError

#: commands that are submitted with one another, at most
TOGETHER = 1000


class TaskFuture(futures.Future[Task]):
    """The end of one task: `result` gives the `Task` once it has ended, whatever its exit code.

    A refusal, such as NoExecutorMatches, is raised by `result`; so is NotFound for a task that was cleared.
    """

    def __init__(self, owner: Futures, submission: Submission) -> None:
        super().__init__()
        self._owner = owner
        self.submission = submission  #: what is asked for; its uuid is the task's

    def cancel(self) -> bool:
        """Have qme end the task, and count as cancelled at once, even where its command runs. False: it has ended."""
        done = self.done()
        if not super().cancel():
            return False
        if not done:
            self.set_running_or_notify_cancel()  # wakes whoever waits
            self._owner._end(self)  # noqa: SLF001 - the two are one
        return True


class Futures:
    """Submits commands and tells as they end; `concurrent.futures.wait` and `as_completed` take what `submit` gives.

        with Futures() as tasks:
            for done in as_completed([tasks.submit(["./analyse", name]) for name in names]):
                print(done.result().outcome)

    Commands are submitted in batches beside the caller, so that 10,000 cost a few dozen requests. Leaving the ``with``
    block waits for all. Safe to use from several threads. Tasks outlive this program: its end cancels nothing.
    """

    def __init__(self, queue: Queue | None = None, options: Options | None = None) -> None:
        """Use this queue, or one of its own; `options` are those of each command that brings none."""
        self._own = queue is None
        self._queue = queue or Queue()
        self._options = options or Options()
        self._lock = threading.Lock()
        self._closed = False
        #: all that have not ended; the rest of the state belongs to the queue's thread
        self._open: set[TaskFuture] = set()
        self._fresh: list[TaskFuture] = []
        self._arrived = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._waited: waiting.Pending = {}
        self._accepted: dict[str, list[TaskFuture]] = {}

    def submit(self, command: str | Sequence[str], options: Options | None = None) -> TaskFuture:
        """Submit a command. Raises InvalidRequest for words that can't travel; RuntimeError after `shutdown`."""
        future = TaskFuture(self, prepare(command, options or self._options, host=self._queue.settings.host))
        with self._lock:
            if self._closed:
                raise RuntimeError("can't submit after shutdown")
            self._open.add(future)
        future.add_done_callback(self._forget)
        self._queue.start(partial(self._take, future)).add_done_callback(partial(_fail_too, future))
        return future

    def map(self, commands: Iterable[str | Sequence[str]], timeout: float | None = None) -> Iterator[Task]:
        """Submit all commands at once, and give their tasks in the same order as they end.

        Raises TimeoutError once `timeout` seconds have passed for one of them, and what `TaskFuture.result` raises.
        """
        coming = [self.submit(command) for command in commands]
        return (future.result(timeout) for future in coming)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more commands, and wait until all have ended, unless told otherwise. May be repeated."""
        with self._lock:
            self._closed = True
            left = list(self._open)
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            futures.wait(left)
        self._queue.call(self._stop)
        if self._own:
            self._queue.close()

    def __enter__(self) -> Futures:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def _forget(self, future: futures.Future[Task]) -> None:
        with self._lock:
            self._open.discard(future)

    def _end(self, future: TaskFuture) -> None:
        self._queue.start(partial(self._cancel, future))

    # -- in the queue's thread -----------------------------------------------------------------------------------------
    async def _take(self, future: TaskFuture, client: AsyncClient) -> None:
        self._fresh.append(future)
        self._arrived.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(client))

    async def _stop(self, client: AsyncClient) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self, client: AsyncClient) -> None:
        try:
            # Heard before anything is submitted: so no task has to be looked at for an end that was missed.
            async with (
                client.bus.follow(subjects.change_filter("*")) as changes,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._submit_all(client))
                async for ended in waiting.told(client.records, changes, self._waited):
                    if ended is not None:
                        self._tell(ended, client)
        except* QmeError as errors:
            for future in [*self._fresh, *(one for some in self._accepted.values() for one in some)]:
                _fail(future, errors.exceptions[0])
            self._fresh.clear()
            self._accepted.clear()
            self._waited.clear()

    async def _submit_all(self, client: AsyncClient) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._fresh:
                some, self._fresh = self._fresh[:TOGETHER], self._fresh[TOGETHER:]
                await self._submit([future for future in some if not future.done()], client)

    async def _submit(self, some: list[TaskFuture], client: AsyncClient) -> None:
        for future in some:
            future.submission = client.own(future.submission)
            self._waited[future.submission.uuid] = None
            self._accepted.setdefault(future.submission.uuid, []).append(future)
        try:
            async for result in client.submit_many(future.submission for future in some):
                try:
                    checked(result)
                except QmeError as refusal:
                    self._refuse(result.uuid, refusal)
        except QmeError as error:
            for future in some:
                self._refuse(future.submission.uuid, error)
        for future in some:
            if future.cancelled():
                await self._cancel(future, client)
        # The task of a key may have ended long ago.
        keyed = [future.submission.uuid for future in some if future.submission.key]
        async for ended in waiting.look(client.records, self._waited, keyed):
            self._tell(ended, client)

    async def _cancel(self, future: TaskFuture, client: AsyncClient) -> None:
        uuid = future.submission.uuid
        if uuid in self._accepted:
            with suppress(QmeError):  # it counts as cancelled; its record says what became of it
                await client.control.cancel([Target(uuid=uuid)])

    def _refuse(self, uuid: str, refusal: QmeError) -> None:
        self._waited.pop(uuid, None)
        for future in self._accepted.pop(uuid, []):
            _fail(future, refusal)

    def _tell(self, ended: waiting.Ended, client: AsyncClient) -> None:
        for future in self._accepted.pop(ended.uuid, []):
            if ended.record is None:
                _fail(future, NotFound(f"the task {ended.uuid} has been cleared"))
            elif not future.done():
                future.set_result(Task(self._queue.call, ended.record))


def _fail(future: TaskFuture, error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _fail_too(future: TaskFuture, started: futures.Future[None]) -> None:
    """Hand on why the queue could not even connect."""
    if not started.cancelled() and (error := started.exception()) is not None:
        _fail(future, error)
