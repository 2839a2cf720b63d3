"""Lists: the newest, exactly, without reading everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.unit.client.scene import Scene, now

from qme.bus.port import Message
from qme.client import Wanted
from qme.client import listing as listing_module
from qme.contracts.subjects import TaskKey
from qme.errors import InvalidRequest


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few dozen tasks need several."""
    monkeypatch.setattr(listing_module, "FIRST_WINDOW", 8)
    monkeypatch.setattr(listing_module, "GROWTH", 2)
    monkeypatch.setattr(listing_module, "CLOCK_SKEW", timedelta())


async def ids(stage: Scene, limit: int | None = None, **wanted: object) -> list[str]:
    """List, newest first."""
    listing = await stage.client.list(Wanted(**wanted), limit)  # type: ignore[arg-type]
    return [record.uuid for record in listing.records]


async def test_newest_first_whatever_changed_last(stage: Scene) -> None:
    """An old task that changes now stays old."""
    keys = [await stage.task(str(n)) for n in range(60)]
    for key in keys[::-3]:
        await stage.start(key)
    newest = [key.uuid for key in reversed(keys)]
    assert await ids(stage) == newest
    for limit in (1, 5, 20, 59, 60, 61):
        listing = await stage.client.list(Wanted(), limit)
        assert [record.uuid for record in listing.records] == newest[:limit]
        assert listing.more is (limit < 60)


async def test_a_window_is_enough_for_the_newest(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The beginning of the bucket is not read."""
    keys = [await stage.task(str(n)) for n in range(100)]
    starts: list[int] = []
    read = stage.reader.read

    def counted(stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
        starts.append(start)
        found: AsyncIterator[Message] = read(stream, subject, start=start)
        return found

    monkeypatch.setattr(stage.reader, "read", counted, raising=False)
    assert await ids(stage, 3) == [key.uuid for key in reversed(keys[-3:])]
    assert min(starts) > 80


async def test_filters_narrow_and_still_find_the_newest(stage: Scene) -> None:
    """Executor, user, status or outcome, labels."""
    first = await stage.task("a", labels={"sample": "7", "x": "y"})
    for n in range(40):
        await stage.task(str(n), user="bob", executor="slurm")
    done = await stage.run("b", labels={"sample": "7"})
    assert await ids(stage, 5, user="ann") == [done.uuid, first.uuid]
    assert await ids(stage, 5, executor="shell") == [done.uuid, first.uuid]
    assert await ids(stage, 5, labels={"sample": "7", "x": "y"}) == [first.uuid]
    assert await ids(stage, 5, statuses=frozenset({"success"})) == [done.uuid]
    assert await ids(stage, 5, statuses=frozenset({"queued"}), user="ann") == [first.uuid]
    assert await ids(stage, 5, user="nobody") == []


async def test_a_task_that_moves_while_we_read_is_not_missed(stage: Scene) -> None:
    """It leaves a window that was still to be read for the end, which had been read already."""
    keys = [await stage.task(str(n)) for n in range(40)]
    read = stage.reader.read
    moved: list[TaskKey] = []

    async def disturbed(stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
        async for message in read(stream, subject, start=start):
            yield message
        if len(moved) < 3:
            moved.append(keys[len(moved)])
            await stage.start(moved[-1])

    stage.reader.__dict__["read"] = disturbed
    assert await ids(stage, 39) == [key.uuid for key in reversed(keys[1:])]
    assert moved


async def test_cleared_tasks_are_gone_and_unreadable_ones_hide_nothing(stage: Scene) -> None:
    """What can't be read is told."""
    gone, bad, good = [await stage.task("x") for _ in range(3)]
    await stage.clear(gone)
    await stage.spoil(bad)
    listing = await stage.client.list(Wanted(), 10)
    assert [record.uuid for record in listing.records] == [good.uuid]
    assert len(listing.unreadable) == 1
    assert bad.uuid in listing.unreadable[0]


async def test_an_empty_bucket(stage: Scene) -> None:
    """There is nothing, and no more of it."""
    listing = await stage.client.list(Wanted(), 10)
    assert (listing.records, listing.more) == ([], False)


async def test_created_counts_not_the_uuid(stage: Scene) -> None:
    """A task submitted again under a key of its own has a uuid that tells nothing of its age."""
    old = await stage.task(
        "old", created=now() - timedelta(days=1), uuid="ffffffff-0000-5000-8000-000000000000"
    )
    new = await stage.task("new", created=now(), uuid="00000000-0000-5000-8000-000000000000")
    assert await ids(stage) == [new.uuid, old.uuid]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("MAKE all", {"make all"}),
        ("^make", {"make all", "make x"}),
        (r"needle-\d+", {"find"}),
        ("urgent", {"make x"}),
        ("nothing", set()),
    ],
)
async def test_search_looks_at_command_message_and_data(stage: Scene, query: str, found: set[str]) -> None:
    """A regular expression, upper and lower case alike; values only, not the names in `data`."""
    await stage.task("make", "all")
    await stage.task("make", "x", message="urgent!")
    key = await stage.task("find")
    await stage.start(key)
    await stage.end(key, output=["a\n", "needle-42\n"], nothing={"n": [1, None]})
    assert {record.command async for record in stage.client.search(query)} == found


@pytest.mark.parametrize("query", ["(", "*", "", r"(?<=x)y", "[z-a]"])
async def test_a_bad_expression_is_refused(stage: Scene, query: str) -> None:
    """Also what would need back-tracking."""
    with pytest.raises(InvalidRequest):
        await anext(stage.client.search(query))
