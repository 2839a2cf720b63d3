"""The bus in memory: the same port for tests, quick and with faults at will. Nothing outlives the process.

`MemoryServer` holds what a NATS server would; each `connect` is one user's connection to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from random import choice

from qme.bus.feed import Feed
from qme.bus.memory_hub import Hub
from qme.bus.memory_live import MemoryPull
from qme.bus.memory_store import Stream
from qme.bus.port import Ack, Delivery, Expect, Handler, Message, StreamState
from qme.bus.serving import Desk
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.contracts import subjects
from qme.errors import BusUnavailable, LimitReached, NotFound, NotPermitted

MAX_PAYLOAD = 1024 * 1024


class MemoryServer(Hub):
    """What a NATS server would hold, shared by all connections."""

    def connect(self, user: str) -> MemoryBus:
        """Connect as a user (a name, not a token)."""
        return MemoryBus(self, subjects.token(user))


class MemoryBus:
    """One connection to a `MemoryServer`, as one user."""

    def __init__(self, server: MemoryServer, user: str) -> None:
        self.server = server
        self._user = user
        self._numbers = count(1)
        self._feeds: set[Feed] = set()
        self._closed = False

    @property
    def user(self) -> str:
        return self._user

    @property
    def connected(self) -> bool:
        return not self._closed

    async def close(self) -> None:
        self._closed = True
        for feed in self._feeds:
            feed.fail(BusUnavailable("this connection to the bus has been closed"))
        self.server.stir()

    def check(self, subject: str) -> None:
        """Raise what keeps this connection from using a subject."""
        if self._closed:
            raise BusUnavailable("this connection to the bus has been closed")
        self.server.faults.check(self._user, subject)

    # -- streams -----------------------------------------------------------------------------------------------------
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
        await self._turn(subject)
        _check_size(data)
        server = self.server
        server.faults.at_append(subject, "before")
        message = Message(subject, data, dict(headers or {}))
        server.publish(message)
        stream = server.taker(subject)
        if stream is None:
            raise NotFound(f"no stream takes {subject}")
        ack, stored = stream.append(message, server.now(), expect=expect, message_id=message_id, ttl=ttl)
        if stored is not None:
            server.republish(stream.spec, stored, expect, message_id, ttl)
            server.stir()
        server.faults.at_append(subject, "after")
        return ack

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str]
    ) -> None:
        with suppress(BusUnavailable, NotFound, NotPermitted):
            await self.append(subject, data, message_id=message_id, headers=headers)

    async def last(self, stream: str, subject: str, *, leader: bool = False) -> Message | None:
        await self._turn(subject)
        if self.server.faults.replicas_lag and not leader:
            return None
        found = self.server.stream(stream).last(subject)
        return found.message if found else None

    async def read(self, stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
        at = start
        while True:
            await self._turn(subject)
            message = self.server.stream(stream).after(at, subject)
            if message is None:
                return
            at = message.seq + 1
            yield message

    async def state(self, stream: str) -> StreamState:
        await self._turn(stream)
        return self.server.stream(stream).state()

    async def subjects(self, stream: str, pattern: str) -> Mapping[str, int]:
        await self._turn(pattern)
        return self.server.stream(stream).subjects(pattern)

    async def purge(self, stream: str, subject: str) -> None:
        await self._turn(subject)
        self.server.stream(stream).purge(subject)

    # -- live --------------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def follow(self, *subjects: str) -> AsyncIterator[AsyncIterator[Message | None]]:
        for subject in subjects:
            await self._turn(subject)
        feed = Feed()
        self._feeds.add(feed)
        self.server.followers[feed] = subjects
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            del self.server.followers[feed]

    # -- consumers ---------------------------------------------------------------------------------------------------
    def pull(
        self, stream: str, consumer: str, *, credit: Callable[[], int], more: asyncio.Event | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        return MemoryPull(self, stream, consumer, credit, more)

    # -- request and reply -------------------------------------------------------------------------------------------
    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        await self._turn(subject)
        _check_size(data)
        server = self.server
        server.publish(Message(subject, data))
        groups: dict[str, list[tuple[Handler, Desk]]] = {}
        for pattern, queue, handler, desk in server.services:
            if subjects.matches(pattern, subject):
                groups.setdefault(queue, []).append((handler, desk))
        if not groups:
            raise NotFound(f"nobody serves {subject} now")
        reply = f"{subjects.inbox(self._user)}.{id(self)}.{next(self._numbers)}"
        server.answers[reply] = answer = asyncio.Future[bytes]()
        try:
            async with asyncio.timeout(timeout):
                for members in groups.values():
                    handler, desk = choice(members)  # noqa: S311 - whichever
                    await desk.take(handler, subject, reply, data, dict(headers or {}))
                return await answer
        except TimeoutError:
            raise BusUnavailable(f"no answer came on {subject} within {timeout:g} s") from None
        finally:
            del server.answers[reply]

    @asynccontextmanager
    async def serve(
        self, name: str, handlers: Mapping[str, Handler], *, version: str = "0.0.0"
    ) -> AsyncIterator[None]:
        for subject in handlers:
            await self._turn(subject)
        desk = Desk(self._respond)
        mine = [(subject, name, handler, desk) for subject, handler in handlers.items()]
        self.server.services.extend(mine)
        try:
            yield
        finally:
            for service in mine:
                self.server.services.remove(service)
            await desk.close()

    # -- administration ----------------------------------------------------------------------------------------------
    async def ensure(self, streams: Sequence[StreamSpec]) -> None:
        for spec in streams:
            await self._turn(spec.name)
            if spec.name in self.server.streams:
                self.server.streams[spec.name].update(spec)
            else:
                self.server.streams[spec.name] = Stream(spec)

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        await self._turn(spec.filter)
        self.server.stream(spec.stream).add_consumer(spec)
        self.server.stir()

    async def remove_consumer(self, stream: str, name: str) -> None:
        await self._turn(name)
        with suppress(NotFound):
            self.server.stream(stream).consumers.pop(name, None)

    async def _turn(self, subject: str) -> None:
        await asyncio.sleep(0)  # as on a real bus, others get their turn during every call
        self.check(subject)

    async def _respond(self, reply: str, data: bytes) -> None:
        _check_size(data)
        if (answer := self.server.answers.get(reply)) is not None and not answer.done():
            answer.set_result(data)


def _check_size(data: bytes) -> None:
    if len(data) > MAX_PAYLOAD:
        raise LimitReached(f"a message of {len(data)} bytes is over the bus's limit of {MAX_PAYLOAD} bytes")
