"""What only the bus in memory can do: faults at will, and a clock that a test moves."""

from __future__ import annotations

import pytest
from tests.contract.conftest import soon

from qme.bus.memory import MemoryServer
from qme.bus.port import Ack, Expect
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.errors import BusUnavailable, NotPermitted


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


async def a_stream(server: MemoryServer, **settings: object):
    """A connection to a server that has one stream."""
    bus = server.connect("ann")
    await bus.ensure([StreamSpec("S", ("s.>",), **settings)])  # type: ignore[arg-type]
    return bus


async def test_an_append_can_fail_before_or_after_it_is_stored():
    """Both look the same to the caller; a repeat under the same id is safe after either."""
    server = MemoryServer()
    bus = await a_stream(server)
    server.faults.fail_append(stored=False)
    with pytest.raises(BusUnavailable):
        await bus.append("s.a", b"1", message_id="x")
    assert (await bus.state("S")).messages == 0
    server.faults.fail_append(stored=True)
    with pytest.raises(BusUnavailable):
        await bus.append("s.a", b"1", expect=Expect(0), message_id="x")
    assert (await bus.state("S")).messages == 1
    assert await bus.append("s.a", b"1", expect=Expect(0), message_id="x") == Ack(1, duplicate=True)


async def test_a_failure_is_for_its_subjects_and_its_number_of_times():
    """Other appends go through."""
    server = MemoryServer()
    bus = await a_stream(server)
    server.faults.fail_append(stored=False, subject="s.a", times=2)
    await bus.append("s.b", b"")
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            await bus.append("s.a", b"")
    assert (await bus.append("s.a", b"")).seq == 2


async def test_a_dropped_delivery_comes_again_when_the_clock_has_moved():
    """As after a lost message: nothing until ack_wait is over."""
    clock = Clock()
    server = MemoryServer(clock=clock)
    bus = await a_stream(server, retention="work")
    await bus.ensure_consumer(ConsumerSpec("S", "w", "s.*", ack_wait=30.0))
    await bus.append("s.a", b"1")
    server.faults.drop_deliveries()
    async with bus.pull("S", "w", credit=lambda: 1) as queue:
        with pytest.raises(TimeoutError):
            await soon(anext(queue), 0.1)
        clock.now += 31
        assert (await soon(anext(queue))).message.data == b"1"


async def test_times_to_live_and_the_memory_of_ids_follow_the_clock():
    """Moving the clock lets both run out."""
    clock = Clock()
    bus = await a_stream(MemoryServer(clock=clock), message_ttl=True)
    await bus.append("s.a", b"1", ttl=30, message_id="x")
    clock.now += 29
    assert await bus.last("S", "s.a") is not None
    clock.now += 2
    assert await bus.last("S", "s.a") is None
    assert (await bus.append("s.a", b"1", message_id="x")).duplicate
    clock.now += 120
    assert not (await bus.append("s.a", b"1", message_id="x")).duplicate


async def test_an_interruption_is_seen_by_followers():
    """As after a reconnect."""
    server = MemoryServer()
    bus = await a_stream(server)
    async with bus.follow("s.>") as live:
        server.interrupt()
        assert await soon(anext(live)) is None


async def test_a_right_can_be_taken():
    """From one user, below one pattern."""
    server = MemoryServer()
    bus = await a_stream(server)
    server.faults.deny("ann", "s.secret.>")
    with pytest.raises(NotPermitted):
        await bus.append("s.secret.x", b"")
    await bus.append("s.open", b"")
    await server.connect("bob").append("s.secret.x", b"")
