"""Limits of streams, and times to live."""

from __future__ import annotations

import pytest
from tests.contract.conftest import World, until

from qme.bus.port import Ack, Expect
from qme.errors import InvalidRequest, LimitReached


async def test_only_the_last_messages_of_a_subject_are_kept(world: World):
    """max_per_subject lets older messages go."""
    await world.make(max_per_subject=2)
    for number in range(4):
        await world.bus.append(world.subject("a"), b"%d" % number)
    await world.bus.append(world.subject("b"), b"b")
    assert await world.bodies() == [b"2", b"3", b"b"]


async def test_a_message_with_a_time_to_live_goes_by_itself(world: World):
    """After its seconds the message is gone, and the subject may be created again."""
    await world.make(message_ttl=True, max_per_subject=1)
    await world.bus.append(world.subject("a"), b"1", ttl=1)
    await world.bus.append(world.subject("b"), b"2")
    assert await world.bodies() == [b"1", b"2"]

    async def gone() -> bool:
        return await world.bus.last(world.stream, world.subject("a")) is None

    await until(gone)
    assert await world.bodies() == [b"2"]
    await world.bus.append(world.subject("a"), b"3", expect=Expect(0))


async def test_a_stream_without_times_to_live_refuses_them(world: World):
    """A message that would have to expire and can't is not stored."""
    await world.make()
    with pytest.raises(InvalidRequest):
        await world.bus.append(world.subject("a"), b"1", ttl=1)
    assert await world.bodies() == []


async def test_a_stream_forgets_what_is_older_than_its_age(world: World):
    """max_age removes messages by itself."""
    await world.make(max_age=1.0, discard="old")
    await world.bus.append(world.subject("a"), b"1")

    async def gone() -> bool:
        return not await world.bodies()

    await until(gone)


async def fill(world: World) -> int:
    """Append until the stream is full, and give how many messages that took."""
    for number in range(20):
        try:
            await world.bus.append(world.subject(f"n{number}"), bytes(500))
        except LimitReached:
            return number
    raise AssertionError("the stream takes everything")


async def test_a_full_stream_that_discards_new_refuses_and_keeps_what_it_has(world: World):
    """Nothing accepted is pushed out; the new message is refused."""
    await world.make(max_bytes=4096, discard="new")
    stored = await fill(world)
    assert 4 <= stored <= 8
    assert [message.seq for message in await world.stored()] == list(range(1, stored + 1))


async def test_in_a_full_bucket_an_update_that_does_not_grow_is_still_possible(world: World):
    """A record may be ended in a full bucket as long as it does not get larger."""
    await world.make(max_bytes=4096, max_per_subject=1)
    await fill(world)
    with pytest.raises(LimitReached):
        await world.bus.append(world.subject("n0"), bytes(600))
    await world.bus.append(world.subject("n0"), bytes(100))


async def test_a_full_stream_that_discards_old_lets_the_oldest_go(world: World):
    """Logs give way to newer ones."""
    await world.make(max_bytes=4096, discard="old")
    for number in range(20):
        await world.bus.append(world.subject("a"), b"%02d" % number + bytes(500))
    kept = [message.data[:2] for message in await world.stored()]
    assert kept[-1] == b"19"
    assert 4 <= len(kept) <= 8


async def test_a_message_over_the_limit_is_refused_and_the_connection_lives_on(world: World):
    """Too large a message does no harm."""
    await world.make()
    with pytest.raises(LimitReached):
        await world.bus.append(world.subject("a"), bytes(1024 * 1024 + 1))
    assert await world.bus.append(world.subject("a"), b"small") == Ack(1)


async def test_a_lower_limit_takes_nothing_from_a_stream_that_refuses_the_new(world: World):
    """An operator who lowers a setting loses no task by it; a stream whose oldest give way is trimmed."""
    for discard, kept in (("new", 20), ("old", 1)):
        await world.bus.purge(world.stream, ">") if discard == "old" else None
        await world.make(discard=discard, max_bytes=100_000)
        for number in range(20):
            await world.bus.append(world.subject(f"n{number}"), bytes(1000))
        await world.make(discard=discard, max_bytes=2_000)
        assert len(await world.stored()) == kept
        if discard == "new":
            with pytest.raises(LimitReached):
                await world.bus.append(world.subject("more"), bytes(1000))
