"""Work queues: one message to one taker, until it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.conftest import World, soon, until

from qme.bus.port import Bus, Delivery
from qme.bus.topology import ConsumerSpec
from qme.errors import BusUnavailable


async def take(world: World, count: int = 1, bus: Bus | None = None) -> list[bytes]:
    """Take and acknowledge that many messages."""
    taken: list[bytes] = []
    async with (bus or world.bus).pull(world.stream, "worker", credit=lambda: 1) as queue:
        while len(taken) < count:
            delivery = await soon(anext(queue))
            taken.append(delivery.message.data)
            await delivery.ack()
    return taken


async def nothing_comes(queue: AsyncIterator[Delivery], seconds: float = 0.3) -> bool:
    """Whether a queue stays silent for a while."""
    try:
        async with asyncio.timeout(seconds):
            await anext(queue)
    except TimeoutError:
        return True
    return False


async def test_messages_come_in_order_with_their_place_in_the_stream(world: World):
    """Oldest first; sequence, time and headers are the stored ones."""
    await world.make_queue()
    await world.bus.append(world.subject("a"), b"1", headers={"Qme-By": "ann"}, message_id="x")
    await world.bus.append(world.subject("b"), b"2")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        first, second = await soon(anext(queue)), await soon(anext(queue))
    assert (first.message.subject, first.message.seq) == (world.subject("a"), 1)
    assert first.message.headers == {"Qme-By": "ann"}
    assert first.message.time is not None
    assert (second.message.data, second.message.seq) == (b"2", 2)


async def test_an_acknowledged_message_leaves_a_work_queue(world: World):
    """What has done its work is gone from the stream."""
    await world.make_queue()
    await world.bus.append(world.subject("a"), b"1")
    await take(world)

    async def gone() -> bool:
        return not await world.stored()

    await until(gone)


async def test_a_message_that_arrives_later_is_handed_out_at_once(world: World):
    """A waiting taker gets it within a moment."""
    await world.make_queue()
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        waiting = asyncio.ensure_future(anext(queue))
        await asyncio.sleep(0.1)
        await world.bus.append(world.subject("a"), b"1")
        delivery = await soon(waiting, 1)
    assert delivery.message.data == b"1"


async def test_each_message_goes_to_one_of_several_takers(world: World):
    """Two workers share a consumer without doing anything twice."""
    await world.make_queue()
    other = await world.connect("bob")
    for number in range(20):
        await world.bus.append(world.subject("a"), b"%d" % number)
    parts = await asyncio.gather(take(world, 10), take(world, 10, other))
    assert sorted(parts[0] + parts[1]) == sorted(b"%d" % number for number in range(20))


async def test_an_unacknowledged_message_comes_again_after_its_wait(world: World):
    """Whoever took it and died does not keep it."""
    await world.make_queue(ack_wait=0.4)
    await world.bus.append(world.subject("a"), b"1")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        first = await soon(anext(queue))
        assert await nothing_comes(queue, 0.15)
        again = await soon(anext(queue))
    assert (first.message.seq, again.message.seq) == (1, 1)


async def test_progress_keeps_a_message_from_coming_again(world: World):
    """in_progress asks for another ack_wait."""
    await world.make_queue(ack_wait=0.5)
    await world.bus.append(world.subject("a"), b"1")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        delivery = await soon(anext(queue))
        for _ in range(4):
            assert await nothing_comes(queue, 0.25)
            await delivery.in_progress()
        await delivery.ack()


async def test_a_returned_message_is_handed_out_again(world: World):
    """A nak without delay: at once."""
    await world.make_queue()
    await world.bus.append(world.subject("a"), b"1")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        await (await soon(anext(queue))).nak()
        again = await soon(anext(queue), 2)
    assert again.message.seq == 1


async def test_a_returned_message_waits_for_its_delay(world: World):
    """A nak with a delay: not before it."""
    await world.make_queue()
    await world.bus.append(world.subject("a"), b"1")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        await (await soon(anext(queue))).nak(0.5)
        assert await nothing_comes(queue, 0.3)
        again = await soon(anext(queue), 2)
    assert again.message.seq == 1


async def test_a_terminated_message_is_gone_for_all(world: World):
    """A term drops what nobody can use."""
    await world.make_queue(ack_wait=0.3)
    await world.bus.append(world.subject("a"), b"bad")
    await world.bus.append(world.subject("a"), b"good")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        await (await soon(anext(queue))).term("not JSON")
        good = await soon(anext(queue))
        assert good.message.data == b"good"
        await good.ack()
        assert await nothing_comes(queue, 0.6)
    assert await world.stored() == []


async def test_acknowledging_twice_or_late_does_no_harm(world: World):
    """An ack may be repeated, also after the message has gone to somebody else."""
    await world.make_queue(ack_wait=0.2)
    await world.bus.append(world.subject("a"), b"1")
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        first = await soon(anext(queue))
        again = await soon(anext(queue))
        await first.ack()
        await again.ack()
        await first.ack()
        await world.bus.append(world.subject("a"), b"2")
        assert (await soon(anext(queue))).message.data == b"2"


async def test_no_more_is_taken_than_there_is_credit_for(world: World):
    """Without credit nothing comes; with more of it, what is there comes soon."""
    await world.make_queue()
    for number in range(5):
        await world.bus.append(world.subject("a"), b"%d" % number)
    credit, more, taken = 0, asyncio.Event(), []
    async with world.bus.pull(world.stream, "worker", credit=lambda: credit, more=more) as queue:
        assert await nothing_comes(queue)
        credit = 2
        more.set()
        while credit:
            taken.append((await soon(anext(queue), 0.5)).message.data)
            credit -= 1
        assert await nothing_comes(queue)
        credit = 1
        taken.append((await soon(anext(queue), 1)).message.data)
        credit = 0
    assert taken == [b"0", b"1", b"2"]


async def test_a_consumer_takes_only_what_its_filter_matches(world: World):
    """Executors and pools share the queue's stream, each with a consumer of its own."""
    await world.make(retention="work")
    for name in ("shell", "slurm"):
        await world.bus.ensure_consumer(ConsumerSpec(world.stream, name, world.subject(name, "*")))
    await world.bus.append(world.subject("shell", "1"), b"for shell")
    await world.bus.append(world.subject("slurm", "2"), b"for slurm")
    async with world.bus.pull(world.stream, "slurm", credit=lambda: 5) as queue:
        assert (await soon(anext(queue))).message.data == b"for slurm"
        assert await nothing_comes(queue)


async def test_a_pull_waits_for_its_consumer(world: World):
    """A worker may come before the submitter has made its consumer."""
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        assert await nothing_comes(queue)
        await world.make_queue()
        await world.bus.append(world.subject("a"), b"1")
        assert (await soon(anext(queue))).message.data == b"1"


async def test_a_pull_survives_that_its_consumer_is_made_anew(world: World):
    """What was not acknowledged is handed out by the new consumer."""
    spec = await world.make_queue()
    async with world.bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        await world.bus.append(world.subject("a"), b"1")
        await soon(anext(queue))
        await world.bus.remove_consumer(world.stream, "worker")
        await world.bus.ensure_consumer(spec)
        assert (await soon(anext(queue))).message.data == b"1"


async def test_what_a_closed_pull_had_not_handed_on_goes_to_others_at_once(world: World):
    """Leaving the context does not hold messages until their wait ends."""
    await world.make_queue(ack_wait=30.0)
    for number in range(3):
        await world.bus.append(world.subject("a"), b"%d" % number)
    async with world.bus.pull(world.stream, "worker", credit=lambda: 3) as queue:
        await (await soon(anext(queue))).ack()
    assert sorted(await take(world, 2)) == [b"1", b"2"]


async def test_pulls_that_come_and_go_lose_no_message_for_its_wait(world: World):
    """What is on its way to a pull that is being closed is given back as well."""
    await world.make_queue(ack_wait=60.0)
    taken: set[bytes] = set()

    async def produce() -> None:
        for number in range(300):
            await world.bus.append(world.subject("a"), b"%d" % number)

    producing = asyncio.create_task(produce())
    async with asyncio.timeout(15):
        while len(taken) < 300:
            async with world.bus.pull(world.stream, "worker", credit=lambda: 5) as queue:
                delivery = await anext(queue)
                taken.add(delivery.message.data)
                await delivery.ack()
    await producing


async def test_a_closed_connection_ends_its_pulls_with_an_error(world: World):
    """Nobody waits for ever on a connection that is gone."""
    await world.make_queue()
    bus = await world.connect("bob")
    async with bus.pull(world.stream, "worker", credit=lambda: 1) as queue:
        await bus.close()
        with pytest.raises(BusUnavailable):
            await soon(anext(queue))
