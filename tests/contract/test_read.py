"""Reading what is stored: single messages, all of a stream, sizes, subjects, and purging."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.conftest import World

from qme.bus.port import StreamState
from qme.errors import NotFound


@pytest.mark.parametrize("leader", [False, True])
async def test_last_gives_the_newest_message_of_a_subject(world: World, leader: bool):
    """The last of several, and None where there is none."""
    await world.make()
    await world.bus.append(world.subject("a"), b"1", headers={"Qme-By": "ann"})
    await world.bus.append(world.subject("a"), b"2", headers={"Qme-By": "bob"})
    found = await world.bus.last(world.stream, world.subject("a"), leader=leader)
    assert found is not None
    assert (found.data, found.seq, found.headers) == (b"2", 2, {"Qme-By": "bob"})
    assert found.time is not None
    assert await world.bus.last(world.stream, world.subject("b"), leader=leader) is None


@pytest.mark.parametrize("leader", [False, True])
async def test_last_finds_a_subject_by_a_pattern(world: World, leader: bool):
    """A task is found by its uuid alone."""
    await world.make()
    await world.bus.append(world.subject("shell", "p", "u1"), b"1")
    await world.bus.append(world.subject("slurm", "q", "u2"), b"2")
    found = await world.bus.last(world.stream, world.subject("*", "*", "u1"), leader=leader)
    assert found is not None
    assert found.subject == world.subject("shell", "p", "u1")


@pytest.mark.parametrize("leader", [False, True])
async def test_a_stream_that_does_not_exist_is_not_found(world: World, leader: bool):
    """Reading from nowhere is an error, not an empty answer."""
    with pytest.raises(NotFound):
        await world.bus.last("NOWHERE", world.subject("a"), leader=leader)
    with pytest.raises(NotFound):
        await anext(world.bus.read("NOWHERE"))
    with pytest.raises(NotFound):
        await world.bus.state("NOWHERE")
    with pytest.raises(NotFound):
        await world.bus.subjects("NOWHERE", ">")
    with pytest.raises(NotFound):
        await world.bus.purge("NOWHERE", ">")


async def test_reading_gives_matching_messages_in_order_and_ends(world: World):
    """Only what matches, oldest first."""
    await world.make()
    for number in range(6):
        await world.bus.append(world.subject("ab"[number % 2]), b"%d" % number)
    assert await world.bodies() == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert [message.data for message in await world.stored(world.subject("b"))] == [b"1", b"3", b"5"]


async def test_reading_starts_at_a_sequence(world: World):
    """From the given one on; past the end there is nothing."""
    await world.make()
    for number in range(4):
        await world.bus.append(world.subject("a"), b"%d" % number)
    assert [message.seq for message in await world.stored(start=3)] == [3, 4]
    assert await world.stored(start=5) == []
    assert [message.seq for message in await world.stored(start=0)] == [1, 2, 3, 4]


async def test_reading_passes_over_gaps(world: World):
    """Removed messages leave holes that a reader does not notice."""
    await world.make(max_per_subject=1)
    for number in range(50):
        await world.bus.append(world.subject(f"k{number % 7}"), b"%d" % number)
    assert [message.seq for message in await world.stored()] == list(range(44, 51))


async def test_reading_an_empty_stream_ends_at_once(world: World):
    """Nothing stored, nothing read."""
    await world.make()
    assert await world.stored() == []


async def test_a_long_stream_is_read_whole(world: World):
    """More messages than fit one page, of sizes that fill pages by bytes, come complete and in order."""
    await world.make()
    sizes = [0, 10, 100_000, 900_000]
    for start in range(0, 5000, 100):
        batch = [world.bus.append(world.subject("a"), bytes(7)) for _ in range(start, start + 100)]
        await asyncio.gather(*batch)
    for size in sizes * 3:
        await world.bus.append(world.subject("b"), bytes(size))
    messages = await world.stored()
    assert [message.seq for message in messages] == list(range(1, 5013))
    assert [len(message.data) for message in messages[5000:]] == sizes * 3


async def test_a_key_that_changes_while_it_is_read_is_not_missed(world: World):
    """The reader meets the key at its new place."""
    await world.make(max_per_subject=1)
    for number in range(5):
        await world.bus.append(world.subject(f"k{number}"), b"old")
    seen: dict[str, bytes] = {}
    async for message in world.bus.read(world.stream):
        if not seen:
            await world.bus.append(world.subject("k3"), b"new")
        seen[message.subject] = message.data
    assert set(seen) == {world.subject(f"k{number}") for number in range(5)}


async def test_two_readers_do_not_disturb_each_other(world: World):
    """Interleaved reads each give everything."""
    await world.make()
    for number in range(10):
        await world.bus.append(world.subject("a"), b"%d" % number)
    one, other = world.bus.read(world.stream), world.bus.read(world.stream, start=6)
    first = [(await anext(one)).seq, (await anext(other)).seq, (await anext(one)).seq]
    assert first == [1, 6, 2]
    assert [message.seq async for message in one] == list(range(3, 11))
    assert [message.seq async for message in other] == list(range(7, 11))


async def test_the_state_tells_size_and_limits(world: World):
    """Numbers of an empty stream, a used one, and one without limits."""
    await world.make(max_bytes=10_000)
    assert await world.bus.state(world.stream) == StreamState(
        first=0, last=0, messages=0, bytes=0, max_bytes=10_000
    )
    for _ in range(3):
        await world.bus.append(world.subject("a"), b"x")
    state = await world.bus.state(world.stream)
    assert (state.first, state.last, state.messages, state.max_messages) == (1, 3, 3, None)
    assert 3 < state.bytes < 1000


async def test_a_stream_without_limits_says_none(world: World):
    """No limit is None, not a number."""
    await world.make()
    state = await world.bus.state(world.stream)
    assert (state.max_bytes, state.max_messages) == (None, None)


async def test_subjects_are_listed_with_their_numbers_of_messages(world: World):
    """Only what matches; nothing is an empty answer."""
    await world.make()
    for name in ("a", "b", "a"):
        await world.bus.append(world.subject("x", name), b"")
    await world.bus.append(world.subject("y", "c"), b"")
    assert await world.bus.subjects(world.stream, world.subject("x", "*")) == {
        world.subject("x", "a"): 2,
        world.subject("x", "b"): 1,
    }
    assert await world.bus.subjects(world.stream, world.subject("z")) == {}


async def test_a_purge_removes_what_matches_and_may_be_repeated(world: World):
    """One subject, a pattern, and nothing at all."""
    await world.make()
    for name in ("a", "b", "c"):
        await world.bus.append(world.subject("x", name), name.encode())
    await world.bus.append(world.subject("y"), b"y")
    await world.bus.purge(world.stream, world.subject("x", "a"))
    assert await world.bodies() == [b"b", b"c", b"y"]
    await world.bus.purge(world.stream, world.subject("x", "*"))
    await world.bus.purge(world.stream, world.subject("x", "*"))
    assert await world.bodies() == [b"y"]
    assert (await world.bus.append(world.subject("y"), b"")).seq == 5
