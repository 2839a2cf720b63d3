"""What a worker with short commands fetches ahead: how much, who gets a slot first, who goes back."""

from __future__ import annotations

import asyncio

import pytest

from qme.worker import ahead
from qme.worker.ahead import Ahead


async def test_only_as_much_is_fetched_ahead_as_ended_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with long commands takes no message that another one could run, and none takes more than its slots."""
    four = Ahead(4)
    assert four.count == 0
    for _ in range(3):
        four.ended()
    assert four.count == 3
    for _ in range(3):
        four.ended()
    assert four.count == 4
    monkeypatch.setattr(ahead, "LATELY", 0.0)
    assert four.count == 0


async def test_slots_go_in_the_order_of_arrival() -> None:
    """Who waited first goes first, also before one that comes at the moment when the slot is free."""
    free, order = 0, []
    line = Ahead(4)

    async def want(name: str) -> None:
        nonlocal free
        await line.turn(lambda: free > 0)
        free -= 1
        order.append(name)

    waits = [asyncio.create_task(want(name)) for name in "ab"]
    await asyncio.sleep(0)
    free = 1
    line.ended()
    waits.append(asyncio.create_task(want("c")))
    await asyncio.wait({waits[0]})
    free += 2
    line.ended()
    line.ended()
    await asyncio.gather(*waits)
    assert order == ["a", "b", "c"]


async def test_who_gets_no_slot_soon_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that would stand behind a long command is free for another worker."""
    monkeypatch.setattr(ahead, "PATIENCE", 0.01)
    await Ahead(1).turn(lambda: False)
