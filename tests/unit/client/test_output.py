"""A task's output: in order, whole, once, and with an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.client.scene import Scene

from qme.bus.port import Message
from qme.client import Chunk, Gap
from qme.client import output as output_module
from qme.contracts import subjects
from qme.contracts.tasks import Outcome
from qme.errors import NotFound


def text(pieces: list[Chunk | Gap], stream: str = "stdout") -> bytes:
    """Put the bytes of one stream together."""
    return b"".join(piece.data for piece in pieces if isinstance(piece, Chunk) and piece.stream == stream)


def gaps(pieces: list[Chunk | Gap]) -> list[Gap]:
    """Give what is missing."""
    return [piece for piece in pieces if isinstance(piece, Gap)]


async def all_of(pieces: AsyncIterator[Chunk | Gap]) -> list[Chunk | Gap]:
    """Read to the end, which must come soon."""
    async with asyncio.timeout(10):
        return [piece async for piece in pieces]


def is_chunk(message: Message) -> bool:
    """Tell output from events."""
    return message.subject.startswith("qme.logs.")


async def test_listening_before_the_task_exists_misses_nothing(stage: Scene) -> None:
    """As `run` does: listen, submit, read until the final record's byte counts are reached."""
    uuid = "01990000-0000-7000-8000-000000000001"
    output = stage.client.output(uuid)
    async with output.following() as pieces:
        key = await stage.task("make", uuid=uuid)
        await stage.start(key)
        await stage.write(key, b"one\n")
        await stage.write(key, b"oops\n", "stderr")
        await stage.write(key, b"two\n")
        await stage.end(key, Outcome.FAILED, 3)
        found = await all_of(pieces(None))
    assert text(found) == b"one\ntwo\n"
    assert text(found, "stderr") == b"oops\n"
    assert not gaps(found)
    assert output.record is not None
    assert output.record.data["returncode"] == 3


async def test_output_is_given_as_it_is_written(stage: Scene) -> None:
    """A chunk comes before the next one is written."""
    key = await stage.task("make")
    await stage.start(key)
    record = await stage.client.get(key.uuid, output=False)
    async with stage.client.output(key.uuid).following() as pieces:
        coming = pieces(record)
        for line in (b"a\n", b"b\n"):
            await stage.write(key, line)
            async with asyncio.timeout(5):
                piece = await anext(coming)
            assert isinstance(piece, Chunk)
            assert piece.data == line
        await stage.end(key)
        assert await all_of(coming) == []


async def test_a_follower_that_comes_late_gets_what_was_before(stage: Scene) -> None:
    """Stored first, then live, nothing twice."""
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"early ")
    record = await stage.client.get(key.uuid, output=False)
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.write(key, b"between ")
        coming = pieces(record)
        first = await anext(coming)
        await stage.write(key, b"late")
        await stage.end(key)
        assert text([first, *await all_of(coming)]) == b"early between late"


@pytest.mark.parametrize("notices", [False, True])
async def test_a_chunk_lost_on_the_way_is_read_again(stage: Scene, notices: bool) -> None:
    """Whether the bus says that something was dropped or not: the offset of the next one tells."""
    stage.reader.hears = lambda message: message.data != b"lost "
    stage.reader.notices = notices
    key = await stage.task("make")
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.start(key)
        for word in (b"kept ", b"lost ", b"kept"):
            await stage.write(key, word)
        await stage.end(key)
        assert text(await all_of(pieces(None))) == b"kept lost kept"


async def test_the_end_is_exact_when_every_chunk_was_lost(stage: Scene) -> None:
    """The final record counts bytes; what is not here yet is read from the stream."""
    stage.reader.hears = lambda message: not is_chunk(message)
    key = await stage.task("make")
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.start(key)
        await stage.write(key, b"out")
        await stage.write(key, b"err", "stderr")
        await stage.end(key)
        found = await all_of(pieces(None))
    assert (text(found), text(found, "stderr")) == (b"out", b"err")


async def test_a_lost_end_is_noticed_after_a_reconnect(stage: Scene) -> None:
    """None from the bus means: read the record again."""
    stage.reader.hears = is_chunk
    stage.reader.notices = True
    key = await stage.task("make")
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.start(key)
        await stage.write(key, b"x")
        await stage.end(key)
        assert text(await all_of(pieces(None))) == b"x"


async def test_a_lost_end_is_noticed_in_a_long_silence(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event can be missing without anybody saying so (an election of the bus): once in a while one looks."""
    monkeypatch.setattr("qme.client.following.patient.__defaults__", (0.05,))
    stage.reader.hears = is_chunk
    key = await stage.task("make")
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.start(key)
        await stage.write(key, b"x")
        await stage.end(key)
        assert text(await all_of(pieces(None))) == b"x"


async def test_a_replica_behind_the_leader_is_not_believed(stage: Scene) -> None:
    """The end was told; a record that does not show it is read again, at the leader."""
    key = await stage.task("make")
    await stage.start(key)
    stale = await stage.bus.last(
        subjects.bucket_stream(subjects.BUCKET_TASKS),
        subjects.bucket_subject(subjects.BUCKET_TASKS, str(key)),
    )

    async def lag(leader: bool) -> Message | None:
        return None if leader else stale

    output = stage.client.output(key.uuid)
    async with output.following() as pieces:
        stage.reader.before_last = lag
        await stage.end(key)
        await all_of(pieces(None))
    assert output.record is not None
    assert output.record.outcome is Outcome.SUCCESS


async def test_attempts_follow_each_other(stage: Scene) -> None:
    """A retry is the same task: its output comes after the first one's, and the end is the last one's."""
    key = await stage.task("make", retries=1)
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.start(key)
        await stage.write(key, b"first\n")
        await stage.end(key, Outcome.FAILED, 1)
        await stage.start(key, 2)
        await stage.write(key, b"second\n", attempt=2)
        await stage.end(key, Outcome.SUCCESS, 0, attempt=2)
        found = await all_of(pieces(None))
    assert [(piece.attempt, piece.data) for piece in found if isinstance(piece, Chunk)] == [
        (1, b"first\n"),
        (2, b"second\n"),
    ]


async def test_one_attempt_can_be_read_alone(stage: Scene) -> None:
    """The current one unless told otherwise; following an earlier one ends at once."""
    key = await stage.run("make", output=b"first\n")
    await stage.rerun(key)
    await stage.start(key, 2)
    await stage.write(key, b"second\n", attempt=2)
    record = await stage.client.get(key.uuid, output=False)
    current = stage.client.output(key.uuid)
    assert text(await all_of(current.stored(record))) == b"second\n"
    earlier = stage.client.output(key.uuid, attempt=1)
    assert text(await all_of(earlier.stored(record))) == b"first\n"
    async with stage.client.output(key.uuid, attempt=1).following() as pieces:
        assert text(await all_of(pieces(record))) == b"first\n"


async def test_one_stream_can_be_read_alone(stage: Scene) -> None:
    """Stored or live."""
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"out")
    await stage.write(key, b"err", "stderr")
    async with stage.client.output(key.uuid, streams=("stderr",)).following() as pieces:
        await stage.write(key, b"out")
        await stage.write(key, b"err", "stderr")
        record = await stage.end(key)
        found = await all_of(pieces(record))
    assert (text(found), text(found, "stderr")) == (b"", b"errerr")
    stored = await all_of(stage.client.output(key.uuid, streams=("stdout",)).stored(record))
    assert (text(stored), text(stored, "stderr")) == (b"outout", b"")


async def test_what_the_log_limit_cut_is_a_gap(stage: Scene) -> None:
    """The record counts more bytes than are on the bus, and says so."""
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"x" * 10)
    record = await stage.end(key, output_bytes=25)
    found = await all_of(stage.client.output(key.uuid).stored(record))
    assert text(found) == b"x" * 10
    assert gaps(found) == [Gap(1, "stdout", 10, 15, "cut")]


async def test_what_the_bus_no_longer_has_is_a_gap(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its place where something comes after it, at the end where all of it is gone."""
    monkeypatch.setattr(output_module, "SETTLE", 0.05)
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"old")
    await stage.write(key, b"old", "stderr")
    for stream in ("stdout", "stderr"):
        await stage.bus.purge(subjects.LOGS, subjects.log_subject(key, 1, stream))
    await stage.write(key, b"new")
    record = await stage.end(key)
    found = await all_of(stage.client.output(key.uuid).stored(record))
    assert found == [
        Gap(1, "stdout", 0, 3, "gone"),
        Chunk(1, "stdout", 3, b"new"),
        Gap(1, "stderr", 0, 3, "gone"),
    ]


async def test_a_replica_that_lacks_the_last_chunk_is_waited_for(stage: Scene) -> None:
    """The record counts it, so it will come."""
    key = await stage.task("make")
    await stage.start(key)
    record = await stage.end(key, output_bytes=4, output_logged=4)

    async def late() -> None:
        await asyncio.sleep(0.1)
        await stage.write(key, b"late")

    writing = asyncio.create_task(late())
    assert text(await all_of(stage.client.output(key.uuid).stored(record))) == b"late"
    await writing


async def test_a_task_cleared_while_it_is_followed(stage: Scene) -> None:
    """There is no end to wait for any more."""
    key = await stage.task("make")
    record = await stage.client.get(key.uuid, output=False)
    async with stage.client.output(key.uuid).following() as pieces:
        await stage.clear(key)
        with pytest.raises(NotFound, match="cleared"):
            await all_of(pieces(record))


async def test_a_lost_task_ends_too(stage: Scene) -> None:
    """With what there is; the record says that it may be corrected."""
    key = await stage.task("make")
    output = stage.client.output(key.uuid)
    async with output.following() as pieces:
        await stage.start(key)
        await stage.write(key, b"x")
        await stage.lose(key)
        assert text(await all_of(pieces(None))) == b"x"
    assert output.record is not None
    assert output.record.provisional
