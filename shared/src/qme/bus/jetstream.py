"""The bus on NATS JetStream: puts the parts together behind the port.

This file and its siblings `jetstream_*` are the only ones that import nats. `jetstream_link` keeps the connection,
`jetstream_calls` repeats calls, and the rest are the port's chapters: append, read, live, pull, admin, snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from qme.bus.jetstream_admin import Admin
from qme.bus.jetstream_append import Appender, complete
from qme.bus.jetstream_calls import Api
from qme.bus.jetstream_doubt import PATIENCE, Doubt
from qme.bus.jetstream_link import Link, Tell
from qme.bus.jetstream_live import follow, serve
from qme.bus.jetstream_parts import Unanswered
from qme.bus.jetstream_pull import Pull
from qme.bus.jetstream_read import Reader
from qme.bus.jetstream_snapshot import Snapshots
from qme.bus.port import Ack, Delivery, Expect, Handler, Message, StreamState
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.contracts import subjects
from qme.errors import BusUnavailable, NotFound, SettingsError

#: seconds between pings; a server that answers none is given up after three times that
PING_INTERVAL = 3.0
#: bytes of a message that the server must take, its own default: a request with sent files is nearly that large
LEAST_PAYLOAD = 1 << 20


class JetStreamBus:
    """One connection to NATS as one user. `open` makes it."""

    def __init__(self, link: Link, patience: float) -> None:
        self._link = link
        self._patience = patience
        self._doubt = Doubt(link)
        api = Api(link, patience, self._doubt)
        self._reader = Reader(api)
        self._appender = Appender(api, self._reader)
        self._admin = Admin(api)
        self._snapshots = Snapshots(api)

    @classmethod
    async def open(
        cls,
        servers: Sequence[str],
        login: Mapping[str, Any],
        *,
        user: str,
        name: str,
        connect_timeout: float,
        publish_retry: float,
        ping_interval: float = PING_INTERVAL,
        own: bool = False,
        tell: Tell | None = None,
    ) -> JetStreamBus:
        """Connect; `login` are nats-py's own options, `user` is a name, times are seconds.

        `tell` is handed a sentence when the bus is away and another when it is back; without it they are logged.
        `own`: only a server of our own account is believed and gets the login (user and password), at any time.

        Raises NotPermitted for refused credentials, BusUnavailable when no server answers or it can't be used.
        """
        link = Link(
            servers,
            login,
            user=subjects.token(user),
            name=name,
            connect_timeout=connect_timeout,
            ping_interval=ping_interval,
            own=own,
            tell=tell,
        )
        await link.open()
        return cls(link, publish_retry)

    @property
    def user(self) -> str:
        return self._link.user

    @property
    def connected(self) -> bool:
        return self._link.connected

    async def close(self) -> None:
        await self._link.close()

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
        sent = complete(headers, message_id, expect, ttl)
        return await self._appender.append(subject, data, sent, given=message_id is not None)

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str]
    ) -> None:
        with suppress(Unanswered, BusUnavailable):
            await self._link.publish(subject, data, headers=complete(headers, message_id, None, None))

    async def last(self, stream: str, subject: str, *, leader: bool = False) -> Message | None:
        return await self._reader.last(stream, subject, leader=leader)

    def read(self, stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
        return self._reader.read(stream, subject, start)

    async def state(self, stream: str) -> StreamState:
        return await self._reader.state(stream)

    async def subjects(self, stream: str, pattern: str) -> Mapping[str, int]:
        return await self._reader.subjects(stream, pattern)

    async def purge(self, stream: str, subject: str) -> None:
        await self._reader.purge(stream, subject)

    # -- live --------------------------------------------------------------------------------------------------------
    def follow(self, *subjects: str) -> AbstractAsyncContextManager[AsyncIterator[Message | None]]:
        return follow(self._link, subjects, self._patience)

    # -- consumers ---------------------------------------------------------------------------------------------------
    def pull(
        self,
        stream: str,
        consumer: str,
        *,
        credit: Callable[[], int],
        more: asyncio.Event | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        return Pull(self._link, stream, consumer, credit, more)

    # -- request and reply -------------------------------------------------------------------------------------------
    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        asking = asyncio.create_task(
            self._link.ask(subject, data, timeout=timeout, headers=dict(headers or {}), patient=True)
        )
        try:
            while not (await asyncio.wait((asking,), timeout=PATIENCE))[0]:
                await self._doubt.voice()
            answer = asking.result()
        except Unanswered:
            raise BusUnavailable(f"no answer came on {subject} within {timeout:g} s") from None
        finally:
            asking.cancel()
        if not answer.data and (answer.headers or {}).get("Status") == "503":
            await self._doubt.voice()
            raise NotFound(f"nobody serves {subject} now")
        return answer.data

    def serve(
        self, name: str, handlers: Mapping[str, Handler], *, version: str = "0.0.0"
    ) -> AbstractAsyncContextManager[None]:
        return serve(self._link, name, handlers, version, self._patience)

    # -- administration ----------------------------------------------------------------------------------------------
    async def ensure(self, streams: Sequence[StreamSpec]) -> None:
        if self._link.max_payload < LEAST_PAYLOAD:
            raise SettingsError(
                f"the bus takes messages of up to {self._link.max_payload} bytes only, too little for sent files and "
                f"long records; set max_payload of the server to {LEAST_PAYLOAD}"
            )
        for spec in streams:
            await self._admin.ensure(spec)

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        await self._admin.ensure_consumer(spec)

    async def remove_consumer(self, stream: str, name: str) -> None:
        await self._admin.remove_consumer(stream, name)

    # -- backup and restore ------------------------------------------------------------------------------------------
    async def snapshot(self, stream: str, write: Callable[[bytes], None]) -> Mapping[str, Any] | None:
        return await self._snapshots.take(stream, write)

    async def restore_stream(
        self, about: Mapping[str, Any], pieces: Iterable[bytes], *, replicas: int
    ) -> None:
        await self._snapshots.restore(about, pieces, replicas)

    async def remove_stream(self, stream: str) -> None:
        await self._snapshots.remove(stream)
