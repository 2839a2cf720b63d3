"""How many tasks of one user may wait: counted as the bus has them, and refused with what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qme.bus.port import Message
from qme.contracts.messages import SubmitRequest
from qme.errors import TooManyTasks
from qme.lifecycle import CancelAsked, Claimed
from qme_submitter import quota
from qme_submitter.process import Submitter

from .conftest import NOW, World, submission


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read counts as old at the next submission."""
    monkeypatch.setattr(quota, "FRESH", 0.0)


async def _submitter(world: World, limit: int) -> Submitter:
    world.settings = replace(world.settings, queued_max=limit)
    return await world.submitter()


async def _refused(one: Submitter, user: str = "ann") -> str:
    with pytest.raises(TooManyTasks) as refusal:
        await one.acceptor.accept(submission(), user)
    return str(refusal.value)


async def _settled(one: Submitter) -> None:
    """Let the count that is under way come to its end."""
    reading = one.acceptor.quota._looking
    if reading is not None:
        await reading


async def test_one_too_many_is_refused(world: World) -> None:
    """Named are number, limit and what to do; others may go on; an end and a claim make room."""
    one = await _submitter(world, 3)
    first, second, third = (submission() for _ in range(3))
    for task in (first, second, third):
        await one.acceptor.accept(task, "ann")
    said = await _refused(one)
    assert said.startswith("ann has 3 tasks waiting for a worker, and 3 is the limit here (queued_max); ")
    assert "qme cancel --all" in said
    await one.acceptor.accept(submission(), "bob")
    assert (await one.acceptor.accept(third, "ann")).uuid == third.uuid  # it is there already

    await world.advance(first.uuid, CancelAsked("ann", NOW))
    await world.advance(second.uuid, Claimed("w", "n", 1, NOW))
    for _ in range(2):
        await _settled(one)
        await one.acceptor.quota._read()
        await one.acceptor.accept(submission(), "ann")
    await _refused(one)


async def test_one_request_does_not_get_past_it(world: World) -> None:
    """A submitter that has just started, and a thousand at once: as many as may wait are taken."""
    one = await _submitter(world, 7)
    from .test_service import frame

    results = await one.acceptor.submit(
        SubmitRequest(**frame(), tasks=tuple(submission() for _ in range(40))), "ann"
    )
    assert sum(result.error is None for result in results.results) == 7


async def test_what_another_submitter_took_counts_too(world: World) -> None:
    """Once it has been read; and nobody is refused where the limit is 0."""
    other, one, free = await _submitter(world, 3), await _submitter(world, 3), await _submitter(world, 0)
    for _ in range(3):
        await other.acceptor.accept(submission(), "ann")
    await one.acceptor.quota._read()
    await _refused(one)
    await free.acceptor.accept(submission(), "ann")


async def test_what_could_not_be_stored_does_not_count(world: World) -> None:
    """A refusal gives the place back."""
    one = await _submitter(world, 3)
    for _ in range(3):
        await one.acceptor.accept(submission(), "bob")
    await one.acceptor.quota._read()
    long = submission(env={f"N{n}_{'x' * 200}": "" for n in range(300)})
    for _ in range(5):
        with pytest.raises(Exception, match="the task's record would have"):
            await one.acceptor.accept(long, "ann")
    for _ in range(3):
        await one.acceptor.accept(submission(), "ann")
    await _refused(one)


@pytest.mark.parametrize(
    "data", [b"", b"7", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"user":' + b"9" * 5000 + b"}"]
)
def test_what_can_not_be_read_counts_for_nobody(data: bytes) -> None:
    """A worker wrote it: the count goes on to those of all others."""
    assert quota._who_waits(Message("$KV.qme_tasks.shell.u-eve.x", data)) is None
