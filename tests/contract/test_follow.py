"""Following subjects live."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.conftest import World, soon

from qme.bus.feed import MAX_MESSAGES
from qme.errors import BusUnavailable, NotPermitted


async def test_everything_after_the_entry_is_seen_in_order(world: World):
    """From the moment the context is entered nothing is missed, and nothing from before is seen."""
    await world.make()
    other = await world.connect("bob")
    await other.append(world.subject("a"), b"before")
    async with world.bus.follow(world.subject(">")) as live:
        for number in range(20):
            await other.append(world.subject("a"), b"%d" % number)
        seen = [await soon(anext(live)) for _ in range(20)]
    assert [message and message.data for message in seen] == [b"%d" % number for number in range(20)]


async def test_a_followed_message_has_no_place_in_a_stream(world: World):
    """Subject, data and own headers; sequence 0, no time."""
    await world.make()
    async with world.bus.follow(world.subject("*")) as live:
        await world.bus.append(world.subject("a"), b"x", headers={"Qme-Offset": "0"}, message_id="i")
        message = await soon(anext(live))
    assert message is not None
    assert (message.subject, message.data, message.headers) == (world.subject("a"), b"x", {"Qme-Offset": "0"})
    assert (message.seq, message.time) == (0, None)


async def test_several_subjects_are_followed_at_once(world: World):
    """Each of the patterns counts, others don't."""
    await world.make()
    async with world.bus.follow(world.subject("a", "*"), world.subject("b")) as live:
        for name in ("a.1", "c", "b", "a.2"):
            await world.bus.append(world.subject(name), b"")
        seen = [await soon(anext(live)) for _ in range(3)]
    assert {message.subject for message in seen if message} == {
        world.subject("a.1"),
        world.subject("b"),
        world.subject("a.2"),
    }


async def test_two_followers_see_the_same(world: World):
    """Following takes nothing away from others."""
    await world.make()
    async with world.bus.follow(world.subject(">")) as one, world.bus.follow(world.subject(">")) as two:
        await world.bus.append(world.subject("a"), b"x")
        both = await soon(anext(one)), await soon(anext(two))
    assert [message and message.data for message in both] == [b"x", b"x"]


async def test_a_reader_that_is_too_slow_is_told_that_messages_are_missing(world: World):
    """Publishing goes on, memory is bounded, and a None stands where messages were dropped."""
    await world.make(discard="old", max_bytes=1 << 20)
    sent = MAX_MESSAGES + 300
    async with world.bus.follow(world.subject(">")) as live:
        for start in range(0, sent, 500):
            batch = (
                world.bus.append(world.subject("a"), b"%d" % n) for n in range(start, min(sent, start + 500))
            )
            await asyncio.gather(*batch)
        kept = [await soon(anext(live)) for _ in range(MAX_MESSAGES + 1)]
        assert kept[-1] is None
        assert None not in kept[:-1]
        await world.bus.append(world.subject("a"), b"after")
        after = await soon(anext(live))
    assert after is not None
    assert after.data == b"after"


async def test_a_closed_connection_ends_its_followers_with_an_error(world: World):
    """Nobody waits for ever on a connection that is gone."""
    await world.make()
    bus = await world.connect("bob")
    async with bus.follow(world.subject(">")) as live:
        await bus.close()
        with pytest.raises(BusUnavailable):
            await soon(anext(live))


async def test_what_the_user_may_not_follow_is_refused_on_entry(world: World):
    """A missing right is an error, not a silence."""
    eve = await world.connect("eve")
    with pytest.raises(NotPermitted):
        await soon(_enter(eve.follow(f"forbidden.{world.mark}")), 1)


async def _enter(context) -> None:
    async with context:
        pass
