"""What nats-py does with the same server and streams, without any of qme: the limit that the bus sets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import nats
import uuid_utils
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.site import Site

#: messages that are on their way at a time
WINDOW = 256


@asynccontextmanager
async def connected(place: Site) -> AsyncIterator[Client]:
    """Connect as the one who may do everything."""
    login = json.loads(place.creds.read_text())
    client = await nats.connect([server.url for server in place.servers], **login)
    try:
        yield client
    finally:
        await client.close()


async def publish_rate(place: Site, sizes: Sequence[int], tasks: int) -> float:
    """Tasks a second whose spec, record and queue message are published by one client, confirmed, many at a time."""
    async with connected(place) as client:
        begin = time.perf_counter()
        async with _Window(client) as window:
            for _ in range(tasks):
                key = f"bench.bench.{uuid_utils.uuid7()}"
                subjects = f"$KV.qme_specs.{key}", f"$KV.qme_tasks.{key}", f"qme.tasks.{key}"
                for subject, size in zip(subjects, sizes, strict=True):
                    await window.publish(subject, b"x" * size)
        return tasks / (time.perf_counter() - begin)


async def store(place: Site, messages: AsyncIterator[tuple[str, bytes]]) -> None:
    """Write many messages as fast as the bus takes them."""
    async with connected(place) as client, _Window(client) as window:
        async for subject, data in messages:
            await window.publish(subject, data)


class _Window:
    """Confirmed publishing with so many on their way."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._free = asyncio.Semaphore(WINDOW)
        self._inbox = client.new_inbox()

    async def __aenter__(self) -> _Window:
        async def confirmed(message: Msg) -> None:
            if b'"error"' in message.data:
                raise SystemExit(f"the bus took a message not: {message.data!r}")
            self._free.release()

        self._wire = await self._client.subscribe(self._inbox, cb=confirmed)
        return self

    async def publish(self, subject: str, data: bytes) -> None:
        await self._free.acquire()
        await self._client.publish(subject, data, reply=self._inbox)

    async def __aexit__(self, *_: object) -> None:
        for _ in range(WINDOW):
            await self._free.acquire()
        await self._wire.unsubscribe()
