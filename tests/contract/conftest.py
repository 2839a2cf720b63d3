"""The two buses that the contract is held against: in memory, and on a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, TypeVar

import pytest

from qme.bus.jetstream import JetStreamBus
from qme.bus.memory import MemoryServer
from qme.bus.port import Bus, Message
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.testing.nats import PASSWORD, USER, NatsServer

T = TypeVar("T")

#: may do everything but what is below `forbidden`
EVE = """{ user: eve, password: eve, permissions: {
    publish: { allow: [">"], deny: ["forbidden.>"] }, subscribe: { allow: [">"], deny: ["forbidden.>"] } } }"""


@dataclass
class World:
    """A bus server, and names on it that no other test uses."""

    connect: Callable[[str], Awaitable[Bus]]
    bus: Bus
    mark: str

    def subject(self, *tokens: str) -> str:
        """A subject of this test's stream."""
        return ".".join((self.mark, *tokens))

    @property
    def stream(self) -> str:
        """Name of this test's stream."""
        return f"S_{self.mark}"

    async def make(self, **settings: Any) -> StreamSpec:
        """Make this test's stream."""
        spec = StreamSpec(self.stream, (f"{self.mark}.>",), **settings)
        await self.bus.ensure([spec])
        return spec

    async def make_queue(self, **settings: Any) -> ConsumerSpec:
        """Make this test's stream as a work queue, with one consumer for all of it."""
        await self.make(retention="work")
        spec = ConsumerSpec(self.stream, "worker", f"{self.mark}.*", **settings)
        await self.bus.ensure_consumer(spec)
        return spec

    async def stored(self, pattern: str = ">", start: int = 1) -> list[Message]:
        """All that this test's stream holds."""
        return [message async for message in self.bus.read(self.stream, pattern, start=start)]

    async def bodies(self) -> list[bytes]:
        """The data of all that this test's stream holds."""
        return [message.data for message in await self.stored()]


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for all tests that don't break it."""
    with NatsServer(tmp_path_factory.mktemp("nats"), users=EVE) as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.nats)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fresh place on the bus, with one connection as ann."""
    opened: list[Bus] = []
    memory = MemoryServer()
    memory.faults.deny("eve", "forbidden.>")
    server = None if request.param == "memory" else request.getfixturevalue("nats_server")

    async def connect(user: str) -> Bus:
        bus: Bus = memory.connect(user) if server is None else await open_nats(server, user)
        opened.append(bus)
        return bus

    yield World(connect, await connect("ann"), f"t{token_hex(6)}")
    for bus in opened:
        await bus.close()


async def open_nats(server: NatsServer, user: str, **changed: Any) -> JetStreamBus:
    """Connect to a real server; eve with her own rights, all others with all rights."""
    login = {"user": "eve", "password": "eve"} if user == "eve" else {"user": USER, "password": PASSWORD}
    options: dict[str, Any] = {"connect_timeout": 5.0, "publish_retry": 3.0, **changed}
    return await JetStreamBus.open(
        [server.url], options.pop("login", login), user=user, name="test", **options
    )


async def soon(awaitable: Awaitable[T], seconds: float = 5.0) -> T:
    """What is awaited, if it comes in time."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def until(condition: Callable[[], Awaitable[object] | bool], seconds: float = 5.0) -> None:
    """Wait until a question, about the bus perhaps, is answered with yes."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if answer is True or (not isinstance(answer, bool) and await answer):
                return
            await asyncio.sleep(0.01)
