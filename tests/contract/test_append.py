"""Storing messages: order, expectations, repeats, rights, republishing."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.conftest import World, until

from qme.bus.port import Ack, Expect
from qme.bus.topology import StreamSpec
from qme.errors import Conflict, NotFound, NotPermitted


async def test_messages_are_numbered_in_the_order_of_their_appends(world: World):
    """Sequence numbers of a stream increase from 1."""
    await world.make()
    acks = [await world.bus.append(world.subject("a"), b"%d" % number) for number in range(3)]
    assert acks == [Ack(1), Ack(2), Ack(3)]


async def test_headers_and_data_come_back_as_they_were_given(world: World):
    """Bytes, an empty body and headers survive storage."""
    await world.make()
    await world.bus.append(world.subject("a"), bytes(range(256)), headers={"Qme-By": "ann", "X": "1: 2"})
    await world.bus.append(world.subject("a"), b"")
    first, second = await world.stored()
    assert (first.data, first.headers) == (bytes(range(256)), {"Qme-By": "ann", "X": "1: 2"})
    assert (second.data, second.headers) == (b"", {})


async def test_a_stored_message_knows_its_place_and_time(world: World):
    """Subject, sequence and an aware time come with a stored message."""
    await world.make()
    await world.bus.append(world.subject("a"), b"x")
    (message,) = await world.stored()
    assert (message.subject, message.seq) == (world.subject("a"), 1)
    assert message.time is not None
    assert message.time.utcoffset() is not None


async def test_a_subject_that_no_stream_takes_is_not_found(world: World):
    """Appending to nowhere fails at once instead of being retried."""
    with pytest.raises(NotFound):
        await world.bus.append(world.subject("a"), b"x")


async def test_zero_is_expected_of_a_subject_that_has_no_message(world: World):
    """Expect(0) creates, and conflicts with what exists."""
    await world.make()
    await world.bus.append(world.subject("a"), b"1", expect=Expect(0))
    with pytest.raises(Conflict):
        await world.bus.append(world.subject("a"), b"2", expect=Expect(0))
    await world.bus.append(world.subject("b"), b"3", expect=Expect(0))
    assert await world.bodies() == [b"1", b"3"]


async def test_an_update_holds_only_at_the_last_sequence_of_its_subject(world: World):
    """An older revision conflicts, whatever happened to other subjects."""
    await world.make(max_per_subject=1)
    first = await world.bus.append(world.subject("a"), b"1")
    await world.bus.append(world.subject("b"), b"other")
    second = await world.bus.append(world.subject("a"), b"2", expect=Expect(first.seq))
    with pytest.raises(Conflict):
        await world.bus.append(world.subject("a"), b"3", expect=Expect(first.seq))
    await world.bus.append(world.subject("a"), b"4", expect=Expect(second.seq))
    assert await world.bodies() == [b"other", b"4"]


async def test_an_expectation_may_look_at_other_subjects_by_a_pattern(world: World):
    """No key of this uuid anywhere: the second executor's create conflicts."""
    await world.make()
    nowhere = Expect(0, world.subject("*", "uuid"))
    await world.bus.append(world.subject("shell", "uuid"), b"1", expect=nowhere)
    with pytest.raises(Conflict):
        await world.bus.append(world.subject("slurm", "uuid"), b"2", expect=nowhere)
    await world.bus.append(
        world.subject("slurm", "other"), b"3", expect=Expect(0, world.subject("*", "other"))
    )


async def test_of_many_creates_at_once_exactly_one_wins(world: World):
    """Racing compare-and-sets have one winner and otherwise conflicts."""
    await world.make()
    others = [await world.connect(f"user{number}") for number in range(3)]
    tries = [
        bus.append(world.subject("a"), b"%d" % number, expect=Expect(0))
        for number, bus in enumerate(others * 10)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(result) for result in results].count(Ack) == 1
    assert {type(result) for result in results} == {Ack, Conflict}


async def test_a_repeated_id_stores_nothing_and_says_so(world: World):
    """The second append of an id gives the first one's place."""
    await world.make()
    assert await world.bus.append(world.subject("a"), b"1", message_id="x") == Ack(1)
    assert await world.bus.append(world.subject("a"), b"2", message_id="x") == Ack(1, duplicate=True)
    assert await world.bodies() == [b"1"]


async def test_a_repeated_id_wins_over_the_expectation_that_its_own_message_broke(world: World):
    """Repeating a whole create or update with its id is safe: it does not conflict with itself."""
    await world.make(max_per_subject=1)
    created = await world.bus.append(world.subject("a"), b"1", expect=Expect(0), message_id="x")
    again = await world.bus.append(world.subject("a"), b"1", expect=Expect(0), message_id="x")
    assert again == Ack(created.seq, duplicate=True)
    updated = await world.bus.append(world.subject("a"), b"2", expect=Expect(created.seq), message_id="y")
    again = await world.bus.append(world.subject("a"), b"2", expect=Expect(created.seq), message_id="y")
    assert again == Ack(updated.seq, duplicate=True)


async def test_a_repeated_create_by_pattern_does_not_conflict_with_itself(world: World):
    """The same with an expectation about other subjects."""
    await world.make()
    nowhere = Expect(0, world.subject("*", "uuid"))
    await world.bus.append(world.subject("shell", "uuid"), b"1", expect=nowhere, message_id="x")
    again = await world.bus.append(world.subject("shell", "uuid"), b"1", expect=nowhere, message_id="x")
    assert again == Ack(1, duplicate=True)
    with pytest.raises(Conflict):
        await world.bus.append(world.subject("slurm", "uuid"), b"1", expect=nowhere, message_id="y")


async def test_a_repeat_after_the_message_was_replaced_is_a_conflict(world: World):
    """What was written and then overwritten is not written again."""
    await world.make(max_per_subject=1)
    created = await world.bus.append(world.subject("a"), b"1", expect=Expect(0), message_id="x")
    await world.bus.append(world.subject("a"), b"2", expect=Expect(created.seq))
    with pytest.raises(Conflict):
        await world.bus.append(world.subject("a"), b"1", expect=Expect(0), message_id="x")


async def test_an_id_is_remembered_after_its_message_is_gone(world: World):
    """A consumed message is not queued again by a late repeat."""
    await world.make()
    await world.bus.append(world.subject("a"), b"1", message_id="x")
    await world.bus.purge(world.stream, world.subject("a"))
    assert (await world.bus.append(world.subject("a"), b"1", message_id="x")).duplicate
    assert await world.bodies() == []


async def test_appends_without_an_id_are_all_stored(world: World):
    """Equal content is no duplicate."""
    await world.make()
    for _ in range(3):
        assert not (await world.bus.append(world.subject("a"), b"same")).duplicate
    assert len(await world.stored()) == 3


async def test_what_the_user_may_not_write_is_refused_quickly(world: World):
    """A missing right is told within a moment, and does no harm to the rest."""
    await world.make()
    eve = await world.connect("eve")
    async with asyncio.timeout(1):
        with pytest.raises(NotPermitted):
            await eve.append(f"forbidden.{world.mark}", b"x")
    assert await eve.append(world.subject("a"), b"x") == Ack(1)


async def a_bucket_with_events(world: World) -> tuple[str, str]:
    """Make a bucket, and a stream that captures what it republishes; give their first tokens."""
    keys, events = f"{world.mark}k", f"{world.mark}e"
    republish = (f"{keys}.>", f"{events}.>")
    await world.bus.ensure(
        [
            StreamSpec(events, (f"{events}.>",), discard="old"),
            StreamSpec(keys, (f"{keys}.>",), max_per_subject=1, republish=republish),
        ]
    )
    return keys, events


async def test_headers_of_a_bucket_are_republished_and_stored_elsewhere(world: World):
    """Each write shows as an event without the body, for followers and in the events' stream."""
    keys, events = await a_bucket_with_events(world)
    async with world.bus.follow(f"{events}.>") as live:
        await world.bus.append(f"{keys}.x.1", b"body", headers={"Qme-Status": "queued"})
        seen = await anext(live)
    assert seen is not None
    assert (seen.subject, seen.data, seen.headers) == (f"{events}.x.1", b"", {"Qme-Status": "queued"})
    assert seen.seq == 1

    async def captured() -> bool:
        return [message async for message in world.bus.read(events)] != []

    await until(captured)
    (stored,) = [message async for message in world.bus.read(events)]
    assert (stored.subject, stored.data) == (f"{events}.x.1", b"")
    assert stored.headers == {"Qme-Status": "queued"}


async def test_a_stream_refuses_republished_updates_whose_revision_is_not_its_own(world: World):
    """The condition of a write travels with its headers: an audit trail can't be captured like that."""
    keys, events = await a_bucket_with_events(world)
    for _ in range(5):  # else the sequences of the two streams coincide
        await world.bus.append(f"{events}.extra", b"")
    revision = (await world.bus.append(f"{keys}.other", b"")).seq
    async with world.bus.follow(f"{events}.>") as live:
        for number in range(3):
            write = world.bus.append(f"{keys}.x", b"%d" % number, expect=Expect(revision if number else 0))
            revision = (await write).seq
        await world.bus.append(f"{keys}.end", b"")
        seen = [await anext(live) for _ in range(4)]
    assert [message and message.seq for message in seen] == [2, 3, 4, 5]

    async def captured() -> bool:
        return await world.bus.last(events, f"{events}.end") is not None

    await until(captured)
    stored = [message.subject async for message in world.bus.read(events, start=6)]
    assert stored == [f"{events}.{name}" for name in ("other", "x", "end")]


async def test_what_is_published_unconfirmed_is_stored_once_by_its_id(world: World):
    """Nobody waits for it, and a second copy is dropped."""
    await world.make()
    for _ in range(2):
        await world.bus.publish(world.subject("a"), b"x", message_id="i", headers={"Qme-By": "ann"})
    await world.bus.append(world.subject("b"), b"end")

    async def stored() -> bool:
        return len(await world.stored()) >= 2

    await until(stored)
    messages = await world.stored()
    assert [(message.data, message.headers) for message in messages] == [
        (b"x", {"Qme-By": "ann"}),
        (b"end", {}),
    ]


async def test_publishing_unconfirmed_never_raises(world: World):
    """Not for a missing stream, a missing right, too large a message or a closed connection."""
    eve = await world.connect("eve")
    await eve.publish(world.subject("nowhere"), b"x", message_id="1", headers={})
    await eve.publish(f"forbidden.{world.mark}", b"x", message_id="2", headers={})
    await eve.publish(world.subject("a"), bytes(2 * 1024 * 1024), message_id="3", headers={})
    await eve.close()
    await eve.publish(world.subject("a"), b"x", message_id="4", headers={})
