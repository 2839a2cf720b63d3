"""Three copies are never quite in step: what is dropped because of a read, and what is written on a condition, hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.cluster.nodes import Cluster
from tests.cluster.site import Site

from qme.bus.jetstream import JetStreamBus
from qme.bus.port import Ack, Expect
from qme.bus.topology import StreamSpec
from qme.client.connect import connect
from qme.settings import Settings

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(200)]

STREAMS = (
    StreamSpec("CHAIN", ("chain.>",), max_per_subject=1, replicas=3),
    StreamSpec("LINE", ("line.>",), replicas=3),
)


@pytest.fixture
async def bus(cluster: Cluster) -> AsyncIterator[JetStreamBus]:
    """A connection to the cluster with the patience that qme has, and two streams of the test's own."""
    connection = await JetStreamBus.open(
        [node.url for node in cluster.nodes],
        {"user": "site", "password": "change-me-site"},
        user="site",
        name="test",
        connect_timeout=5.0,
        publish_retry=15.0,
    )
    await connection.ensure(STREAMS)
    yield connection
    await connection.close()
    await asyncio.to_thread(cluster.mend)


async def test_a_task_is_found_right_after_it_was_submitted(site: Site, cluster: Cluster) -> None:
    """Whichever node is asked; a replica that is behind is no evidence."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                connect(Settings(nats_url=node.url, nats_creds=cluster.creds(), host="here"))
            )
            for node in cluster.nodes
        ]
        for number in range(40):
            result = await clients[number % 3].submit(["true"])
            found = await asyncio.gather(*(client.get(result.uuid, output=False) for client in clients))
            assert [record.uuid for record in found] == [result.uuid] * 3
        last = await asyncio.gather(*(client.get(output=False) for client in clients))
        assert [record.uuid for record in last] == [result.uuid] * 3


async def test_one_writer_has_no_conflicts_through_an_election(bus: JetStreamBus, cluster: Cluster) -> None:
    """Compare-and-sets in a chain, with the leader killed amid them, all succeed; a second writer's is refused."""

    async def chain() -> int:
        revision = 0
        for number in range(300):
            revision = (await bus.append("chain.x", b"%d" % number, expect=Expect(revision))).seq
        return revision

    writing = asyncio.create_task(chain())
    leader = await asyncio.to_thread(cluster.leader, "CHAIN")
    leader.kill()
    assert await asyncio.wait_for(writing, 60) == 300
    stored = await bus.last("CHAIN", "chain.x", leader=True)
    assert stored is not None
    assert (stored.seq, stored.data) == (300, b"299")


async def test_racing_creates_have_one_winner_through_an_election(
    bus: JetStreamBus, cluster: Cluster
) -> None:
    """Ten at once for each of twenty keys, with the leader killed amid them."""

    async def race(key: int) -> list[object]:
        tries = (bus.append(f"chain.race.{key}", b"%d" % n, expect=Expect(0)) for n in range(10))
        return await asyncio.gather(*tries, return_exceptions=True)

    races = asyncio.gather(*(race(key) for key in range(20)))
    leader = await asyncio.to_thread(cluster.leader, "CHAIN")
    leader.kill()
    for key, outcomes in enumerate(await asyncio.wait_for(races, 60)):
        won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Ack)]
        assert len(won) == 1, outcomes
        stored = await bus.last("CHAIN", f"chain.race.{key}", leader=True)
        assert stored is not None
        assert stored.data == b"%d" % won[0]


async def test_no_append_is_lost_or_stored_twice_through_an_election(
    bus: JetStreamBus, cluster: Cluster
) -> None:
    """What was acknowledged is there once, and nothing runs out of patience."""
    leader = await asyncio.to_thread(cluster.leader, "LINE")

    async def write(number: int) -> None:
        for part in range(30):
            await bus.append("line.x", f"{number}.{part}".encode())

    writing = asyncio.gather(*(write(number) for number in range(10)))
    leader.kill()
    await asyncio.wait_for(writing, 60)
    stored = sorted([message.data async for message in bus.read("LINE")])
    assert stored == sorted(f"{n}.{p}".encode() for n in range(10) for p in range(30))
