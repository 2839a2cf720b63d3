"""The dashboard's one connection to the bus: a thread of its own keeps the store up to date and asks what is asked.

One in a process, however many look. Knows no page and no route.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from qme.client import AsyncClient
from qme.client.connect import connect
from qme.client.executors import Known
from qme.client.mirroring import Mirroring
from qme.contracts import subjects
from qme.errors import BusUnavailable, QmeError
from qme.local.layout import Layout
from qme.local.stack import alive
from qme.observe.logging import get_logger
from qme.settings import Settings
from qme_dashboard.store import Store
from qme_dashboard.tails import Tails

T = TypeVar("T")
Ask = Callable[[AsyncClient], Coroutine[Any, Any, T]]

log = get_logger(__name__)

_RECORDS = subjects.bucket_stream(subjects.BUCKET_TASKS)
#: seconds between two looks at who is there to run tasks
EXECUTORS_EVERY = 3.0
#: seconds between two looks for a local stack that does not answer any more
MOVED_EVERY = 3.0
#: seconds without a change after which the records are looked after: their bucket may have gone, or be another one
SILENCE = 10.0
#: seconds between two tries to connect
RETRY = 1.0
#: seconds that a question may take
PATIENCE = 60.0


class Hub:
    """Started once, closed at the end; everything else may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store()
        self.tails = Tails()
        self.executors: Sequence[Known] = ()  #: as last seen
        self.read, self.expected = 0, 0  #: records read since the beginning, and how many there were then
        self.user = settings.user  #: whom the bus knows us as
        self.seen = 0.0  #: when the executors were last seen, in seconds since the epoch; 0: never
        self._client: AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="qme-hub", daemon=True)

    def start(self) -> None:
        """Connect, and go on for ever."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def close(self) -> None:
        """Disconnect, and forget the copy."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
        self.store.close()

    @property
    def trouble(self) -> str | None:
        """Why what is shown may be old; None when it is not."""
        if self._client is None:
            return self.store.trouble or "not connected yet"
        if not self._client.bus.connected:
            return "the connection to the bus is lost"
        return self.store.trouble

    @property
    def alive(self) -> bool:
        """The thread that keeps the copy is there: what is wrong mends itself."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """All records have been read once, and the bus is there."""
        return self.store.loaded and self.trouble is None

    async def ask(self, question: Ask[T]) -> T:
        """Run a function of the client, from another event loop. Raises QmeError."""
        return await asyncio.wrap_future(self._sent(question))

    def call(self, question: Ask[T]) -> T:
        """Do the same from a thread without an event loop. Raises QmeError."""
        future = self._sent(question)
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            future.cancel()
            raise BusUnavailable(f"the bus gave no answer within {PATIENCE:g} s") from None

    def _sent(self, question: Ask[T]) -> Future[T]:
        if self._loop is None:
            raise BusUnavailable("the dashboard has not been started")
        return asyncio.run_coroutine_threadsafe(self._asked(question), self._loop)

    async def _asked(self, question: Ask[T]) -> T:
        if self._client is None:
            raise BusUnavailable(f"the dashboard has no connection to the bus: {self.trouble}")
        return await question(self._client)

    # -- the thread --------------------------------------------------------------------------------------------------
    def _serve(self) -> None:
        assert self._loop  # noqa: S101 -- made before the thread
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._until_stopped())
        finally:
            self._loop.close()

    async def _until_stopped(self) -> None:
        working = asyncio.create_task(self._work())
        await self._stop.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                async with connect(self.settings, name="dashboard") as client:
                    self._client, self.user = client, client.user
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._mirror(client))
                        group.create_task(self._look(client))
                        group.create_task(self._leave_what_has_moved(client))
            except* QmeError as errors:
                trouble = str(errors.exceptions[0])
                if trouble != self.store.trouble:  # a bus may be away for days
                    log.warning("dashboard.disconnected", error=trouble)
                self.store.trouble = trouble
            except* Exception:
                self.store.trouble = "the dashboard failed; its log says where"
                log.exception("dashboard.failed")
            finally:
                self._client = None
            await asyncio.sleep(RETRY)

    async def _mirror(self, client: AsyncClient) -> None:
        async for batch in Mirroring(client.bus, silence=SILENCE).batches():
            if batch.fresh:
                self.read, self.expected = 0, (await client.bus.state(_RECORDS)).messages
            self.store.apply(batch)
            self.read += len(batch.items)
            await asyncio.sleep(0)  # a long reading must not keep others waiting

    async def _leave_what_has_moved(self, client: AsyncClient) -> None:
        """End the connection when the local stack was stopped, and serves again at another address.

        Only looks: whoever stopped it does not want a dashboard to start it.
        """
        layout = Layout(self.settings.local_dir)
        known = alive(layout) if self.settings.nats_url is None else None
        while known is not None:
            await asyncio.sleep(MOVED_EVERY)
            there = None if client.bus.connected else alive(layout)
            if there not in (None, known):
                raise BusUnavailable("the local stack has moved")

    async def _look(self, client: AsyncClient) -> None:
        while True:
            try:
                self.executors, self.seen = await client.executors(), time.time()
            except QmeError as error:
                log.info("dashboard.executors_unseen", error=error.message)
            await asyncio.sleep(EXECUTORS_EVERY)
