"""What operators say of an executor, and how its workers obey: in KV, so that no restart forgets it."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.worker.lab import POOL, USER, FaultyBus, Lab, now, until

from qme.bus.kv import Bucket
from qme.bus.port import Message
from qme.client.executors import heartbeats
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat, Pause
from qme.contracts.tasks import Outcome
from qme.errors import BusUnavailable

KEY = subjects.pause_key("shell", POOL)


def _bucket(lab: Lab) -> Bucket[Pause]:
    return Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Pause)


async def _say(lab: Lab, *, drain: bool = False) -> None:
    word = Pause(executor="shell", pool=POOL, reason="new disks", by="olga", at=now(), drain=drain)
    await _bucket(lab).put(KEY, word)


async def _resume(lab: Lab) -> None:
    entry = await _bucket(lab).get(KEY)
    assert entry is not None
    await _bucket(lab).delete(KEY, entry.revision)


async def _sign(lab: Lab, *, drained: bool) -> Heartbeat:
    async def look() -> Heartbeat | None:
        beats = await heartbeats(lab.bus)
        return next((one for one in beats if one.pause and one.drained == drained), None)

    return await until(look)


async def test_a_paused_worker_takes_nothing_and_what_runs_goes_on(lab: Lab) -> None:
    """Within a heartbeat nothing new is taken; the command that runs ends well; resumed, what waited is run."""
    async with lab.worker():
        running = await lab.submit("sh", "-c", f"while [ ! -e {lab.home}/go ]; do sleep 0.1; done")
        await lab.begun(running)
        await _say(lab)
        sign = await _sign(lab, drained=False)
        assert (sign.paused, sign.active) == ("paused by olga: new disks", 1)
        waiting = await lab.submit("true")
        (lab.home / "go").touch()
        assert (await lab.ended(running)).outcome is Outcome.SUCCESS
        assert (await lab.entry(waiting)).value.due
        await _resume(lab)
        assert (await lab.ended(waiting)).outcome is Outcome.SUCCESS


class Late(FaultyBus):
    """A bus that does not tell of pauses at once."""

    untold = 3

    async def last(self, stream: str, subject: str, *, leader: bool = False) -> Message | None:
        """Read, but not a pause at first."""
        if ".pause." in subject and self.untold:
            self.untold -= 1
            await asyncio.sleep(0.2)
            raise BusUnavailable("no answer")
        return await self._bus.last(stream, subject, leader=leader)


async def test_a_pause_holds_through_a_restart(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that starts under a pause takes nothing, not even what lay in the queue before: it asks first."""
    monkeypatch.setattr("qme.worker.loop.AGAIN", 0.1)
    await _say(lab, drain=True)
    waiting = await lab.submit("true")
    async with lab.worker(bus=Late(lab.server.connect(USER))):
        sign = await _sign(lab, drained=True)
        assert sign.paused == "drained, as olga asked: new disks"
        assert (await lab.entry(waiting)).value.due
        await _resume(lab)
        await lab.ended(waiting)


async def test_a_drained_worker_says_so_once_nothing_runs(lab: Lab) -> None:
    """Draining while something runs, drained after it."""
    async with lab.worker():
        running = await lab.submit("sh", "-c", f"while [ ! -e {lab.home}/go ]; do sleep 0.1; done")
        await lab.begun(running)
        await _say(lab, drain=True)
        await _sign(lab, drained=False)
        (lab.home / "go").touch()
        await lab.ended(running)
        await _sign(lab, drained=True)


async def test_what_had_been_asked_for_goes_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that comes after the pause, as one that was on its way: it is not claimed, and not lost."""
    monkeypatch.setattr("qme.worker.context.Context.credit", lambda self: max(0, 4 - len(self.held)))
    monkeypatch.setattr("qme.worker.claim.AGAIN", 0.2)
    async with lab.worker():
        await _say(lab)
        await _sign(lab, drained=False)
        waiting = await lab.submit("true")
        await asyncio.sleep(1.0)
        assert (await lab.entry(waiting)).value.due
        await _resume(lab)
        assert (await lab.ended(waiting)).outcome is Outcome.SUCCESS
