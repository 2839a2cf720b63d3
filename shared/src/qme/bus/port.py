"""What qme asks of a message bus: the port. Two adapters implement it (`qme.bus.jetstream`, `qme.bus.memory`) and one
contract suite holds both to every sentence here. No adapter code, no names of streams or subjects.

A *stream* stores messages under increasing sequence numbers. A key-value bucket is a stream that keeps the last message
of each subject, so `append` with an expectation is its compare-and-set; `qme.bus.kv` gives it types.

Errors, the same from both adapters:

- `BusUnavailable` when no answer came within its patience (setting `publish_retry`, 15 s): the call may or may not
  have happened. `append` and `purge` may be repeated as they are (see there).
- `Conflict` when an expectation did not hold; `LimitReached` when a stream is full or a message too large;
  `NotPermitted` when credentials forbid the call; `NotFound` for a stream that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from qme.bus.topology import ConsumerSpec, StreamSpec


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    `seq` and `time` say where and when it was stored; 0 and None for one that was followed live. What a stream
    republishes has the stream's even then (the revision of the key that was written).
    """

    subject: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    seq: int = 0
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """The bus has stored the message under `seq`; `duplicate` when it had it already, by its id."""

    seq: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Expect:
    """Append only if the last message that matches `subject` has sequence `last` (0: there is none).

    `subject` is the message's own unless given; it may hold wildcards ("no key of this uuid anywhere").
    """

    last: int
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class StreamState:
    """Size of a stream; limits are None where there is none."""

    first: int
    last: int
    messages: int
    bytes: int
    max_bytes: int | None = None
    max_messages: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a service sees it. `user` is the token that the subject was authenticated for."""

    subject: str
    user: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[bytes]]


class Delivery(Protocol):
    """A message handed out by a consumer. Delivery counts can't be trusted after a server crash, so there are none."""

    @property
    def message(self) -> Message:
        """The message, with its sequence in the stream."""
        ...

    async def ack(self) -> None:
        """Say that the message has done its work; not confirmed, and harmless when repeated or late."""
        ...

    async def nak(self, delay: float = 0.0) -> None:
        """Give the message back, to be handed out again after `delay` seconds."""
        ...

    async def term(self, reason: str) -> None:
        """Drop the message for good: it can't be used by anybody."""
        ...

    async def in_progress(self) -> None:
        """Ask for another `ack_wait` of time."""
        ...


class Bus(Protocol):
    """One connection to the bus, as one user. Reconnects by itself for ever; `close` ends it."""

    @property
    def user(self) -> str:
        """Token of the name this connection acts as."""
        ...

    @property
    def connected(self) -> bool:
        """The connection stands right now."""
        ...

    async def close(self) -> None:
        """End the connection; never raises, may be repeated."""
        ...

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
        """Store a message in the stream that takes `subject`.

        Retried until `publish_retry` under one message id (the given one, else a fresh one), so that a lost answer
        does not store it twice. With a given `message_id`, a message of that id stored within the last two minutes
        makes this a duplicate: nothing is stored. That wins over `expect` as long as the message is the last of its
        subject; once a later one has replaced it, a repeated append with `expect` is a Conflict. `ttl` is in whole
        seconds.
        """
        ...

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str]
    ) -> None:
        """Send a message without waiting for it to be stored, and without being told when it is not.

        Far cheaper than `append`; for what can be found again when it is missing. Raises nothing, whatever happens.
        """
        ...

    async def last(self, stream: str, subject: str, *, leader: bool = False) -> Message | None:
        """Read the last message whose subject matches (wildcards allowed).

        Without `leader` any replica answers, maybe with what was true a moment ago: fit for display. Whatever *drops*
        something because of the answer asks the leader.
        """
        ...

    def read(self, stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
        """Read what is stored now under matching subjects, from sequence `start` on, in order; ends at the end.

        A subject that is written while it is read may come twice, but is never missed.
        Holds a bounded part of the stream in memory. Needs no consumer, so a reader needs no right to make one.
        """
        ...

    async def state(self, stream: str) -> StreamState:
        """Tell a stream's size and limits."""
        ...

    async def subjects(self, stream: str, pattern: str) -> Mapping[str, int]:
        """List the stored subjects that match, each with its number of messages."""
        ...

    async def purge(self, stream: str, subject: str) -> None:
        """Remove all messages of a subject (or matching subjects)."""
        ...

    # -- live --------------------------------------------------------------------------------------------------------
    def follow(self, *subjects: str) -> AbstractAsyncContextManager[AsyncIterator[Message | None]]:
        """Receive messages as they are published, from the moment the context is entered.

        Yields None after a reconnect, and when the reader was too slow and messages were dropped: something may have
        been missed, so read it from the stream. Never blocks the connection; memory is bounded. An append that is sent
        again, or refused by its stream, is seen as often as it was sent: only what a stream republishes is certain.
        """
        ...

    # -- consumers ---------------------------------------------------------------------------------------------------
    def pull(
        self, stream: str, consumer: str, *, credit: Callable[[], int], more: asyncio.Event | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Take messages from a durable consumer.

        `credit()` is asked before each pull: how many messages the caller can take now (0: ask again within a second,
        or as soon as the caller sets `more`; the bus clears it).
        Waits where the consumer does not exist yet, and survives reconnects, leader changes and a re-created consumer.
        """
        ...

    # -- request and reply -------------------------------------------------------------------------------------------
    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Ask a service and give its answer.

        Raises NotFound when nobody serves the subject (at once), BusUnavailable when no answer came within `timeout`
        seconds. The reply subject is in this user's own inbox.
        """
        ...

    def serve(
        self, name: str, handlers: Mapping[str, Handler], *, version: str = "0.0.0"
    ) -> AbstractAsyncContextManager[None]:
        """Answer requests on subjects (the keys, wildcards allowed) while the context lasts.

        Several servers of one `name` share the requests. Requests run concurrently. One whose reply is not in its
        requester's own inbox is dropped before the handler sees it. A handler's QmeError goes back as
        ``{"error": …}``; any other exception is logged and answered as an internal error.
        """
        ...

    # -- administration (submitters) -----------------------------------------------------------------------------------
    async def ensure(self, streams: Sequence[StreamSpec]) -> None:
        """Create the streams that are missing and bring the others' settings up to date. May be repeated, and raced."""
        ...

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        """Create a consumer or bring it up to date. May be repeated, and raced."""
        ...

    async def remove_consumer(self, stream: str, name: str) -> None:
        """Remove a consumer; one that does not exist is fine."""
        ...


@runtime_checkable
class Archive(Protocol):
    """What only backup and restore ask, of a bus that can (the one in memory can't). Nothing is repeated by itself."""

    async def snapshot(self, stream: str, write: Callable[[bytes], None]) -> Mapping[str, Any] | None:
        """Hand a stream with its consumers, as it is now, to `write` in pieces.

        Gives what `restore_stream` needs besides, None when there is no such stream.
        Raises what `write` raises (OSError), BusUnavailable when it breaks off.
        """
        ...

    async def restore_stream(
        self, about: Mapping[str, Any], pieces: Iterable[bytes], *, replicas: int
    ) -> None:
        """Make a stream of a snapshot: messages, sequences and consumers as they were.

        Raises Conflict where a stream of its name exists.
        """
        ...

    async def remove_stream(self, stream: str) -> None:
        """Remove a stream with all that it holds; one that does not exist is fine."""
        ...
