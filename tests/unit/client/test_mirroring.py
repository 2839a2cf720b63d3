"""What keeps a copy of all records up to date, through everything that can happen to the bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.client.scene import Scene, scene

from qme.bus import topology
from qme.bus.kv import Corrupt, Entry, Removed
from qme.client.mirroring import Batch, Mirroring
from qme.settings import Settings


class Copy:
    """A copy kept by the rules that `Batch` states."""

    def __init__(self, mirroring: Mirroring) -> None:
        self._batches = mirroring.batches()
        self.rows: dict[str, str] = {}
        self.anew = 0

    def apply(self, batch: Batch) -> None:
        """Take one batch."""
        if batch.fresh:
            self.anew += 1
        for item in batch.items:
            match item:
                case Entry():
                    self.rows[item.key] = item.value.status
                case Removed():
                    self.rows.pop(item.key, None)
                case Corrupt():
                    self.rows[item.key] = "unreadable"

    async def until(self, wanted: dict[str, str]) -> None:
        """Take batches until the copy is what is wanted."""
        async with asyncio.timeout(20):
            while self.rows != wanted:
                self.apply(await anext(self._batches))

    async def fresh(self) -> None:
        """Take batches until one begins anew; what was there before goes."""
        async with asyncio.timeout(20):
            while True:
                batch = await anext(self._batches)
                if batch.fresh:
                    self.rows.clear()
                    self.apply(batch)
                    return

    async def trouble(self) -> str:
        """Take batches until one tells of trouble."""
        async with asyncio.timeout(20):
            while True:
                batch = await anext(self._batches)
                if batch.trouble:
                    return batch.trouble
                self.apply(batch)


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[Scene]:
    """A bus in memory, without a submitter."""
    async with scene(Settings(home=tmp_path)) as made:
        yield made


def copy_of(world: Scene) -> Copy:
    """A copy that looks for itself often."""
    return Copy(Mirroring(world.reader, silence=0.05, retry=0.05))


async def test_what_is_there_and_what_changes(world: Scene) -> None:
    """Records that existed, changes, new ones, cleared ones and unreadable ones all arrive."""
    old = await world.run("true")
    copy = copy_of(world)
    await copy.until({str(old): "complete"})
    new = await world.task("sleep", "9")
    await copy.until({str(old): "complete", str(new): "queued"})
    await world.start(new)
    await copy.until({str(old): "complete", str(new): "running"})
    await world.clear(old)
    await copy.until({str(new): "running"})
    await world.spoil(new)
    await copy.until({str(new): "unreadable"})
    assert copy.anew == 1


async def test_lost_events_are_found_by_looking(world: Scene) -> None:
    """A change that the bus told nobody of is seen after a silence, without reading everything anew."""
    first = await world.run("true")
    copy = copy_of(world)
    await copy.until({str(first): "complete"})
    world.reader.hears = lambda message: False
    second = await world.task("true")
    await copy.until({str(first): "complete", str(second): "queued"})
    assert copy.anew == 1


async def test_a_bucket_made_anew_is_read_anew(world: Scene) -> None:
    """After the records were deleted as a whole and others put there, the copy begins anew."""
    gone = [await world.run("true") for _ in range(3)]
    copy = copy_of(world)
    await copy.until({str(key): "complete" for key in gone})
    world.bus.server.streams.pop("KV_qme_tasks")  # type: ignore[attr-defined]
    await copy.trouble()
    await world.bus.ensure(topology.streams(world.settings))
    left = [await world.run("true") for _ in range(5)]
    await copy.fresh()
    await copy.until({str(key): "complete" for key in left})


async def test_the_first_change_in_a_new_bucket_gives_it_away(world: Scene) -> None:
    """A bucket made anew between two looks: a change that is told of and can't be found is reason enough to look."""
    gone = [await world.run("true") for _ in range(3)]
    copy = Copy(Mirroring(world.reader, silence=600.0))
    await copy.until({str(key): "complete" for key in gone})
    gone.append(await world.run("true"))  # so that the look at the beginning is over
    await copy.until({str(key): "complete" for key in gone})
    world.bus.server.streams.pop("KV_qme_tasks")  # type: ignore[attr-defined]
    await world.bus.ensure(topology.streams(world.settings))
    new = await world.task("true")
    await copy.fresh()
    await copy.until({str(new): "queued"})
