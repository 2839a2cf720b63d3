"""The shared part of the in-memory bus: streams, followers, services, and what passes between them. No connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from qme.bus.feed import Feed
from qme.bus.memory_faults import Faults
from qme.bus.memory_store import Consumer, Stream
from qme.bus.port import Expect, Handler, Message
from qme.bus.serving import Desk
from qme.bus.topology import StreamSpec
from qme.contracts import subjects
from qme.errors import NotFound, QmeError


class Hub:
    """What all connections share. `clock` gives seconds since the epoch; move it to let things expire."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.now = clock
        self.faults = Faults()
        self.streams: dict[str, Stream] = {}
        self.followers: dict[Feed, tuple[str, ...]] = {}
        #: (subject pattern, queue group, handler, who answers)
        self.services: list[tuple[str, str, Handler, Desk]] = []
        self.answers: dict[str, asyncio.Future[bytes]] = {}
        self._changed = asyncio.Event()

    def interrupt(self) -> None:
        """Let every connection lose and find the server again, which tells followers that something may be missing."""
        for feed in self.followers:
            feed.gap()

    def stream(self, name: str) -> Stream:
        """Find a stream. Raises NotFound."""
        if name not in self.streams:
            raise NotFound(f"there is no stream {name}")
        self.streams[name].expire(self.now())
        return self.streams[name]

    def consumer(self, stream: str, name: str) -> tuple[Stream, Consumer] | None:
        """Find a consumer with its stream."""
        found = self.streams.get(stream)
        if found is None or name not in found.consumers:
            return None
        found.expire(self.now())
        return found, found.consumers[name]

    def taker(self, subject: str) -> Stream | None:
        """Find the stream that takes a subject."""
        for stream in self.streams.values():
            if any(subjects.matches(pattern, subject) for pattern in stream.spec.subjects):
                return stream
        return None

    def publish(self, message: Message) -> None:
        """Hand a message to whoever follows its subject."""
        for feed, patterns in self.followers.items():
            for pattern in patterns:
                if subjects.matches(pattern, message.subject):
                    feed.put(message)

    def republish(
        self,
        spec: StreamSpec,
        stored: Message,
        expect: Expect | None,
        message_id: str | None,
        ttl: float | None,
    ) -> None:
        """Publish the headers of a stored message under its other subject.

        A stream that takes that subject applies the write's own conditions to itself, and may refuse it silently.
        """
        if spec.republish is None:
            return
        source, destination = (pattern.removesuffix(">") for pattern in spec.republish)
        subject = destination + stored.subject.removeprefix(source)
        self.publish(Message(subject, b"", stored.headers, stored.seq, stored.time))
        if (taker := self.taker(subject)) is not None:
            copy = Message(subject, b"", stored.headers)
            with suppress(QmeError):
                taker.append(copy, self.now(), expect=expect, message_id=message_id, ttl=ttl)

    def stir(self) -> None:
        """Wake the pulls: there may be something for them."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def stirred(self, seconds: float, *events: asyncio.Event) -> None:
        """Wait for `stir` or one of the events, but not longer than that."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._changed, *events)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
