"""Several servers, and servers that hold a connection without being of use: what is left for what, and how soon."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.conftest import open_nats, soon, until

from qme.bus.jetstream import JetStreamBus
from qme.bus.jetstream_client import OneConnection, others_first
from qme.bus.jetstream_doubt import is_sign_of_life
from qme.bus.topology import StreamSpec
from qme.testing.fixtures import own_nats_server  # noqa: F401 - a fixture
from qme.testing.nats import PASSWORD, USER, NatsServer

pytestmark = pytest.mark.nats


async def connect(*urls: str, ping_interval: float = 60.0) -> JetStreamBus:
    """Connect to one of several servers, as qme does."""
    return await JetStreamBus.open(
        urls,
        {"user": USER, "password": PASSWORD},
        user="ann",
        name="test",
        connect_timeout=5.0,
        publish_retry=15.0,
        ping_interval=ping_interval,
    )


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[NatsServer, NatsServer]]:
    """Two servers, each with a message that names it: enough to see who is asked."""
    with NatsServer(tmp_path / "a") as first, NatsServer(tmp_path / "b") as second:
        for server, name in ((first, b"a"), (second, b"b")):
            bus = await connect(server.url)
            await bus.ensure([StreamSpec("LOG", ("log.>",))])
            await bus.append("log.x", name)
            await bus.close()
        yield first, second


async def who(bus: JetStreamBus) -> bytes:
    """Name of the server that answers."""
    message = await bus.last("LOG", "log.x", leader=True)
    assert message is not None
    return message.data


@pytest.mark.parametrize("shunned", ["nats://b", "b:4222", "nats://ann:x@b:4222/", "tls://B:4222"])
def test_a_server_that_was_left_is_the_last_choice(shunned: str):
    """However its URL is spelled."""
    assert others_first(["nats://a", shunned, "nats://c:4222"], "b:4222") == [
        "nats://a",
        "nats://c:4222",
        shunned,
    ]


def stream_of(leader: str | None, *heard: float) -> dict[str, object]:
    """What a node of a cluster says about a stream; `heard` are seconds since it has heard of each other replica."""
    replicas = [
        {"name": f"n{number}", "current": True, "active": int(seconds * 1e9)}
        for number, seconds in enumerate(heard, 2)
    ]
    return {"cluster": {"name": "qme", "leader": leader, "replicas": replicas}}


@pytest.mark.parametrize(
    ("said", "sign"),
    [
        ({"config": {}}, True),  # one server
        (stream_of("n1", 0.3, 0.9), True),
        (stream_of("n1", 0.3, 60), True),  # the other one is away
        (stream_of("n1"), True),  # one replica
        (stream_of("n1", 0.3, 0.9, 60, 60), True),
        (stream_of("n1", 0.3, 60, 60, 60), False),
        (stream_of("n1", 6, 60), False),  # it led as it was cut off
        (stream_of(None, 0, 0), False),
        ({"error": {"code": 404, "err_code": 10059}}, True),  # a bus that no submitter has seen
        ({"error": {"code": 503, "err_code": 10008}}, False),
        (None, False),
    ],
)
def test_a_server_is_well_that_hears_from_enough_others(said: object, sign: bool):
    """Its word alone is not enough: cut off, it believes for a while that it still leads."""
    assert is_sign_of_life(b"" if said is None else json.dumps(said).encode()) is sign


async def test_a_server_that_says_nothing_delays_no_connection(nats_server: NatsServer):
    """However often it is the first to be tried."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        url = f"nats://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        for _ in range(8):
            begun = time.monotonic()
            await (await connect(url, nats_server.url)).close()
            assert time.monotonic() - begun < 3


async def test_a_frozen_server_is_left_for_another(pair: tuple[NatsServer, NatsServer]):
    """By the call that goes unanswered, long before pings tell."""
    bus = await connect(*(server.url for server in pair))
    at = await who(bus)
    frozen, other = pair if at == b"a" else pair[::-1]
    frozen.pause()
    try:
        assert await soon(who(bus), 14) != at
        other.kill()
        await until(lambda: not bus.connected)
    finally:
        frozen.resume()
    assert await soon(who(bus), 14) == at
    await bus.close()


async def test_a_request_without_an_answer_leaves_a_frozen_server(pair: tuple[NatsServer, NatsServer]):
    """It waits on, and is answered through the other server if it is repeated there."""
    bus = await connect(*(server.url for server in pair))
    at = await who(bus)
    frozen = pair[0] if at == b"a" else pair[1]
    frozen.pause()
    try:
        before = bus._link.client
        asking = asyncio.create_task(bus.request("qme.api.ann.x", b"", timeout=12))
        await until(lambda: bus._link.client is not before, 12)
        asking.cancel()
        assert await soon(who(bus), 10) != at
    finally:
        frozen.resume()
        await bus.close()


async def test_a_server_that_takes_nothing_more_is_given_up(own_nats_server: NatsServer):  # noqa: F811 - the fixture
    """With megabytes on their way to it, which it will never read; closing the line politely would wait for that."""
    bus = await connect(own_nats_server.url, ping_interval=0.3)
    await bus.ensure([StreamSpec("LOG", ("log.>",))])
    own_nats_server.pause()
    try:
        writing = [asyncio.create_task(bus.append("log.x", b"x" * 200_000)) for _ in range(100)]
        await until(lambda: not bus.connected)
    finally:
        own_nats_server.resume()
    await soon(asyncio.gather(*writing), 30)
    assert (await bus.state("LOG")).messages == 100
    await bus.close()


async def test_people_are_told_once_that_the_bus_is_away_and_once_that_it_is_back(
    own_nats_server: NatsServer,  # noqa: F811 - the fixture
):
    """And nothing about an interruption that the first try ends."""
    said: list[str] = []
    bus = await open_nats(own_nats_server, "ann", tell=said.append)
    client = await bus._link.ready()
    await client.lose()
    await until(lambda: bus.connected)
    assert said == []
    own_nats_server.kill()
    await until(lambda: bool(said))
    await asyncio.sleep(1.5)  # some more tries
    await asyncio.to_thread(own_nats_server.start)
    await until(lambda: bus.connected, 10)
    assert [words.partition(" (")[0] for words in said] == [
        "the bus is away; trying again until it is back",
        "the bus is back",
    ]
    await bus.close()


async def test_a_connection_that_is_lost_while_it_is_taken_is_replaced(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
):
    """Its last answer and its end come together: nobody may take it for the one that stands."""
    bus = await connect(nats_server.url)
    first = bus._link.client
    assert first is not None
    flush = OneConnection.flush
    flushed: list[OneConnection] = []

    async def flush_and_lose(self: OneConnection, timeout: int = 10) -> None:
        await flush(self, timeout)
        if not flushed:
            flushed.append(self)
            await self.lose()

    monkeypatch.setattr(OneConnection, "flush", flush_and_lose)
    await first.lose()
    await until(lambda: bool(flushed) and bus.connected)
    await soon(bus.request("$JS.API.INFO", b"", timeout=5), 10)
    assert bus._link.client not in (first, *flushed)
    await bus.close()
