"""Counting on a bus, the one in memory and NATS: no event twice, none missed, whoever dies and whoever helps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from qme.bus import topology
from qme.bus.connect import connect
from qme.bus.kv import Bucket
from qme.bus.memory import MemoryServer
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.errors import BusUnavailable
from qme.exporter import catalog
from qme.exporter.counting import Counting
from qme.exporter.totals import Saved
from qme.settings import Settings
from qme.testing.nats import NatsServer

pytestmark = pytest.mark.nats
UUID = "0199aaaa-0000-7000-8000-000000000001"


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """A bus of either kind, set up as a submitter does."""
    if request.param == "memory":
        made: Bus = MemoryServer().connect("exporter")
    else:
        server: NatsServer = request.getfixturevalue("own_nats_server")
        made = await connect(Settings(user="exporter"), url=server.url, creds=server.creds, name="test")
    await made.ensure(topology.streams(Settings()))
    await made.ensure_consumer(topology.audit_consumer())
    yield made
    await made.close()


async def happen(bus: Bus, *revisions: int) -> None:
    """Let tasks end."""
    for revision in revisions:
        headers = {"Qme-Revision": str(revision), "Qme-Steps": "ended", "Qme-Outcome": "success"}
        await bus.append(f"qme.events.shell.lab.{UUID}", b"", headers=headers)


def finished(counting: Counting) -> int:
    """How many ends it shows."""
    return sum(count for _, count in counting.totals.counts(catalog.FINISHED))


async def saved(bus: Bus) -> Saved:
    """What lies on the bus."""
    entry = await Bucket(bus, subjects.BUCKET_CONTROL, Saved).get(subjects.TOTALS_KEY, leader=True)
    return entry.value if entry else Saved()


async def until_counted(counting: Counting, wanted: int) -> None:
    """Wait until it shows so many ends."""
    async with asyncio.timeout(45):
        while finished(counting) != wanted:
            assert finished(counting) < wanted
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(counting: Counting) -> AsyncIterator[Counting]:
    """Let it count, for as long as the context lasts."""
    task = asyncio.create_task(counting.run())
    try:
        yield counting
    finally:
        assert not task.done() or task.exception() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_second_exporter_goes_on_where_the_first_one_was(bus: Bus) -> None:
    """What was there before any exporter, and while none was there, is counted; a change stored twice once."""
    await happen(bus, 1, 2, 3)
    async with running(Counting(bus)) as first:
        await until_counted(first, 3)
        await happen(bus, 4, 3)
        await until_counted(first, 4)
    await happen(bus, 2, 5)
    async with running(Counting(bus)) as second:
        await until_counted(second, 5)
        assert sum((await saved(bus)).counts[catalog.FINISHED.name].values()) == 5


async def test_what_was_saved_but_not_acknowledged_counts_once(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill -9 between the two: all of it is handed out again."""
    monkeypatch.setattr(topology, "ACK_WAIT", 1.0)
    await bus.ensure_consumer(
        topology.ConsumerSpec(subjects.EVENTS, subjects.EXPORTER, subjects.EVERY_EVENT, 1.0)
    )
    await happen(bus, 1, 2, 3)
    killed = Counting(bus)
    async with bus.pull(subjects.EVENTS, subjects.EXPORTER, credit=lambda: 3) as deliveries:
        killed._batch = [await anext(deliveries) for _ in range(3)]

        async def dies() -> None:
            raise BusUnavailable

        for delivery in killed._batch:
            monkeypatch.setattr(type(delivery), "ack", lambda _: dies())
        with pytest.raises(BusUnavailable):
            await killed._work()
    monkeypatch.undo()
    assert finished(killed) == 3
    await happen(bus, 4)
    async with running(Counting(bus)) as next_one:
        await until_counted(next_one, 4)
        async with asyncio.timeout(45):
            while next_one.repeated < 3:  # noqa: ASYNC110 - it rings no bell
                await asyncio.sleep(0.05)
        assert finished(next_one) == 4


async def test_two_exporters_share_the_work_and_show_the_same(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save is a compare-and-set: neither loses what the other counted."""
    monkeypatch.setattr("qme.exporter.counting.REFRESH", 0.3)
    async with running(Counting(bus)) as one, running(Counting(bus)) as other:
        for start in range(1, 101, 10):
            await happen(bus, *range(start, start + 10))
            await asyncio.sleep(0.05)
        await until_counted(one, 100)
        await until_counted(other, 100)


async def test_nothing_is_shown_before_it_is_saved(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shown once is never taken back by a crash."""
    counting = Counting(bus)
    await happen(bus, 1, 2)

    async def fails(*_: object, **__: object) -> int:
        raise BusUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "update", fails)
        async with running(counting):
            async with asyncio.timeout(30):
                while len(counting._batch) < 2:  # noqa: ASYNC110 - it rings no bell
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1.5)
            assert (finished(counting), await saved(bus)) == (0, Saved())
            patch.undo()
            await until_counted(counting, 2)


async def test_places_have_series_before_their_first_task(bus: Bus) -> None:
    """They are saved too, so that they stay through a restart."""
    async with running(Counting(bus)) as counting:
        counting.know([("slurm", "hpc"), ("shell", "u-ann")])
        async with asyncio.timeout(30):
            while not (await saved(bus)).executors:  # noqa: ASYNC110 - a question to the bus
                await asyncio.sleep(0.05)
    assert set((await saved(bus)).counts[catalog.SUBMITTED.name]) == {"slurm,hpc", "shell,personal"}


async def test_a_bus_that_was_set_back_is_counted_anew_from_there(bus: Bus) -> None:
    """Its revisions are given out a second time, for other changes."""
    async with running(Counting(bus)) as counting:
        await happen(bus, 1, 2, 3)
        await until_counted(counting, 3)
        counting.set_back(2)
        async with asyncio.timeout(30):
            while counting.totals.seen.top != 2:  # noqa: ASYNC110 - it rings no bell
                await asyncio.sleep(0.02)
        await happen(bus, 3)
        await until_counted(counting, 4)
