"""Whole streams out of a real NATS server and into another one: nothing is missing, and what breaks off says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from os import urandom
from pathlib import Path

import pytest
from tests.contract.conftest import open_nats, soon, until

from qme.bus import jetstream_snapshot
from qme.bus.jetstream import JetStreamBus
from qme.bus.port import Archive, Expect, Message
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.errors import BusUnavailable, Conflict, QmeError
from qme.testing.nats import NatsServer

pytestmark = pytest.mark.nats

REC = StreamSpec("REC", ("rec.>",), max_per_subject=1, message_ttl=True)
WORK = StreamSpec("WORK", ("work.>",), retention="work")


@pytest.fixture
def target(tmp_path: Path):
    """A second server, with nothing on it."""
    with NatsServer(tmp_path / "target") as running:
        yield running


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[NatsServer], Awaitable[JetStreamBus]]]:
    """Connect to a server as who may do everything."""
    opened: list[JetStreamBus] = []

    async def connect(server: NatsServer) -> JetStreamBus:
        opened.append(await open_nats(server, "ann", publish_retry=5.0))
        return opened[-1]

    yield connect
    for bus in opened:
        await bus.close()


Connect = Callable[[NatsServer], Awaitable[JetStreamBus]]


async def stored(bus: JetStreamBus, stream: str) -> list[Message]:
    """All that a stream holds."""
    return [message async for message in bus.read(stream)]


async def test_a_stream_comes_back_as_it_was(
    own_nats_server: NatsServer, target: NatsServer, connect: Connect
) -> None:
    """Messages with headers, sequences and times; holes too, so that compare-and-set goes on where it was."""
    source, other = await connect(own_nats_server), await connect(target)
    assert isinstance(source, Archive)
    await source.ensure([REC])
    for number in range(300):
        await source.append(f"rec.{number % 200}", b"x" * 3000, headers={"N": str(number)})
    pieces: list[bytes] = []
    about = await source.snapshot("REC", pieces.append)
    assert about is not None
    await other.restore_stream(about, pieces, replicas=1)
    assert await stored(other, "REC") == await stored(source, "REC")
    assert await other.state("REC") == await source.state("REC")
    with pytest.raises(Conflict):
        await other.append("rec.5", b"", expect=Expect(6))
    assert (await other.append("rec.5", b"", expect=Expect(206))).seq == 301
    await other.ensure([REC])


async def test_a_queue_comes_back_with_its_consumer(
    own_nats_server: NatsServer, target: NatsServer, connect: Connect
) -> None:
    """What was acknowledged is not there, all else is handed out."""
    source, other = await connect(own_nats_server), await connect(target)
    await source.ensure([WORK])
    await source.ensure_consumer(ConsumerSpec("WORK", "shell", "work.shell.*", ack_wait=1.0))
    for number in range(3):
        await source.append(f"work.shell.{number}", b"")
    async with source.pull("WORK", "shell", credit=lambda: 1) as deliveries:
        await (await soon(anext(deliveries))).ack()
        await until(lambda: _has(source, 2))
    pieces: list[bytes] = []
    about = await source.snapshot("WORK", pieces.append)
    assert about is not None
    await other.restore_stream(about, pieces, replicas=1)
    async with other.pull("WORK", "shell", credit=lambda: 1) as deliveries:
        given = {(await soon(anext(deliveries), 60)).message.subject for _ in range(2)}
    assert given == {"work.shell.1", "work.shell.2"}


async def _has(bus: JetStreamBus, messages: int) -> bool:
    return (await bus.state("WORK")).messages == messages


async def test_a_stream_that_is_missing_or_in_the_way(own_nats_server: NatsServer, connect: Connect) -> None:
    """No snapshot of what is not there, no restore over what is, and removing may be repeated."""
    bus = await connect(own_nats_server)
    assert await bus.snapshot("REC", lambda _: None) is None
    await bus.ensure([REC])
    await bus.append("rec.1", b"old")
    pieces: list[bytes] = []
    about = await bus.snapshot("REC", pieces.append)
    assert about is not None
    await bus.append("rec.1", b"new")
    with pytest.raises(Conflict, match="there is a stream REC already"):
        await bus.restore_stream(about, pieces, replicas=1)
    assert [message.data for message in await stored(bus, "REC")] == [b"new"]
    await bus.remove_stream("REC")
    await bus.remove_stream("REC")
    await bus.restore_stream(about, pieces, replicas=1)
    assert [message.data for message in await stored(bus, "REC")] == [b"old"]


async def test_a_snapshot_that_is_cut_short_is_no_stream(
    own_nats_server: NatsServer, connect: Connect
) -> None:
    """The server takes nothing of it."""
    bus = await connect(own_nats_server)
    await bus.ensure([REC])
    await bus.append("rec.1", urandom(500_000))
    pieces: list[bytes] = []
    about = await bus.snapshot("REC", pieces.append)
    assert about is not None
    await bus.remove_stream("REC")
    with pytest.raises(QmeError):
        await bus.restore_stream(about, [pieces[0][:100]], replicas=1)
    await bus.restore_stream(about, pieces, replicas=1)
    assert (await bus.state("REC")).messages == 1


async def test_a_full_disk_at_the_reader_is_its_own_error(
    own_nats_server: NatsServer, connect: Connect
) -> None:
    """What can't be written ends the snapshot at once, with the reason."""
    bus = await connect(own_nats_server)
    await bus.ensure([REC])
    await bus.append("rec.1", b"x")

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await soon(bus.snapshot("REC", full), 10)


async def test_a_lost_connection_ends_the_snapshot(
    own_nats_server: NatsServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never taken for a whole one, and the connection is there for the next try."""
    monkeypatch.setattr(jetstream_snapshot, "PIECE", 1024)
    bus = await connect(own_nats_server)
    await bus.ensure([REC])
    for number in range(200):  # more than may be under way at a time
        await bus.append(f"rec.{number}", urandom(100_000))  # no compression: it has many pieces

    def cut(_: bytes) -> None:
        own_nats_server.kill()

    with pytest.raises(BusUnavailable):
        await soon(bus.snapshot("REC", cut), 20)
    own_nats_server.start()
    await until(lambda: bus.connected, 20)
    pieces: list[bytes] = []
    assert await soon(bus.snapshot("REC", pieces.append), 20) is not None
