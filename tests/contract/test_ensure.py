"""Setting up streams and consumers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.contract.conftest import World, soon

from qme.bus import topology
from qme.bus.topology import ConsumerSpec
from qme.errors import NotFound, SettingsError
from qme.settings import Settings


async def test_setting_up_may_be_repeated_and_keeps_what_is_stored(world: World):
    """A second ensure changes nothing."""
    spec = await world.make(max_per_subject=1, message_ttl=True)
    await world.bus.append(world.subject("a"), b"x")
    await world.bus.ensure([spec])
    assert await world.bodies() == [b"x"]


async def test_several_may_set_up_at_once(world: World):
    """Submitters that start together all succeed."""
    await asyncio.gather(*(world.make(max_bytes=100_000) for _ in range(8)))
    await world.bus.append(world.subject("a"), b"x")


async def test_several_with_different_limits_may_set_up_at_once(world: World):
    """During an upgrade old and new settings race: one of them holds in the end."""
    await asyncio.gather(*(world.make(max_bytes=100_000 + number) for number in range(8)))
    assert (await world.bus.state(world.stream)).max_bytes in range(100_000, 100_008)


async def test_changed_limits_are_brought_up_to_date(world: World):
    """A larger or smaller limit holds from then on."""
    await world.make(max_bytes=100_000)
    await world.make(max_bytes=200_000, max_age=1000.0)
    assert (await world.bus.state(world.stream)).max_bytes == 200_000
    await world.make(max_bytes=50_000)
    assert (await world.bus.state(world.stream)).max_bytes == 50_000
    await world.make()
    assert (await world.bus.state(world.stream)).max_bytes is None


async def test_a_republish_can_be_added_and_taken_away(world: World):
    """A stream that republished under an older version of the settings stops doing so."""
    settings = {"republish": (world.subject(">"), f"{world.mark}events.>")}
    for chosen in ({}, settings, {}):
        await world.make(**chosen)
    async with world.bus.follow(f"{world.mark}events.>", world.subject(">")) as live:
        await world.bus.append(world.subject("a"), b"1")
        await world.bus.append(world.subject("a"), b"2")
        seen = [await soon(anext(live)) for _ in range(2)]
    assert [message and message.data for message in seen] == [b"1", b"2"]


async def test_a_setting_that_cannot_be_changed_is_named(world: World):
    """An existing stream of another kind is a clear error, and stays as it is."""
    await world.make()
    await world.bus.append(world.subject("a"), b"x")
    with pytest.raises(SettingsError, match="retention"):
        await world.make(retention="work")
    assert await world.bodies() == [b"x"]


async def test_a_consumer_may_be_made_again_and_changed(world: World):
    """Repeated, raced, and with another ack_wait."""
    spec = await world.make_queue(ack_wait=20.0)
    await asyncio.gather(*(world.bus.ensure_consumer(spec) for _ in range(5)))
    await world.bus.ensure_consumer(replace(spec, ack_wait=0.3))
    await world.bus.append(world.subject("a"), b"1")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        await soon(anext(queue))
        assert (await soon(anext(queue), 3)).message.data == b"1"


async def test_a_consumer_of_no_stream_is_not_found(world: World):
    """The queue has to be there first."""
    with pytest.raises(NotFound):
        await world.bus.ensure_consumer(ConsumerSpec("NOWHERE", "worker", "x.*"))


async def test_a_work_queue_has_one_consumer_for_each_message(world: World):
    """Two consumers that would take the same are refused."""
    await world.make_queue()
    with pytest.raises(SettingsError):
        await world.bus.ensure_consumer(ConsumerSpec(world.stream, "second", world.subject("*")))
    await world.bus.ensure_consumer(ConsumerSpec(world.stream, "third", world.subject("a", "*")))


async def test_removing_a_consumer_may_be_repeated(world: World):
    """One that does not exist is fine, and so is one of no stream."""
    await world.make_queue()
    for _ in range(2):
        await world.bus.remove_consumer(world.stream, "worker")
    await world.bus.remove_consumer("NOWHERE", "worker")


async def test_the_whole_topology_can_be_set_up_twice(world: World):
    """All streams and buckets of qme, and a consumer."""
    for _ in range(2):
        await world.bus.ensure(topology.streams(Settings()))
        await world.bus.ensure_consumer(topology.consumer("shell", "default"))
