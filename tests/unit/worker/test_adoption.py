"""Workers that go and come back: commands live on, each is started once, and its record ends right."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.worker.lab import USER, FaultyBus, Lab, now, once, until
from tests.unit.worker.test_running import _marked
from uuid_utils import uuid7

from qme.bus.port import Message
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status
from qme.errors import BusUnavailable
from qme.executor.commands import Keeper
from qme.executor.keeper import proc
from qme.executor.spool import Spool
from qme.lifecycle import Claimed, Started
from qme.settings import Settings
from qme.worker import loop, spooled
from qme.worker.context import Which


async def test_while_the_command_runs(lab: Lab) -> None:
    """A command that outlives its worker is taken up again: one start, whole output, right code."""
    async with lab.worker():
        key = await lab.submit_marked("echo one; sleep 1.5; echo two; exit 7")
        await lab.begun(key)
    assert _marked(key.uuid)
    assert not (await lab.entry(key)).value.ended
    async with lab.worker():
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 7)
    assert await lab.output(key) == b"one\ntwo\n"
    assert record.data["cmd"][0].startswith("echo x")
    assert lab.starts(key) == 1


async def test_it_ended_while_nobody_was_there(lab: Lab) -> None:
    """The exit record tells the next worker."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.5; echo late")
        await lab.begun(key)
    await asyncio.sleep(0.8)
    async with lab.worker():
        record = await lab.ended(key)
    assert (record.outcome, record.data["output"]) == (Outcome.SUCCESS, ["late\n"])
    assert lab.starts(key) == 1
    assert record.finished is not None
    assert (now() - record.finished).total_seconds() > 0.3


async def test_claimed_and_not_started(lab: Lab) -> None:
    """A claim without a start token: this worker alone may start it, and does, also where only the record knows."""
    key = await lab.submit_marked("true")
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    await lab.change(key, Started(1, now()))
    assert not lab.spool.attempt(key.uuid, 1).path.exists()
    async with lab.worker():
        record = await lab.ended(key)
    assert record.outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1


async def test_the_bus_goes_away_while_it_looks_for_its_claims(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage in the middle of reading the records ends no worker: it reads them again, and misses nothing."""
    keys = [await lab.submit_marked("true") for _ in range(4)]
    for key in keys:
        await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
        await lab.change(key, Started(1, now()))
    await lab.bus.purge(subjects.TASKS, subjects.EVERY_QUEUE)  # nothing but the records tells of them
    monkeypatch.setattr("qme.worker.loop.AGAIN", 0.1)
    readings: list[int] = []

    class Breaking(FaultyBus):
        async def read(self, stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
            readings.append(start)
            async for message in self._bus.read(stream, subject, start=start):
                yield message
                if len(readings) == 1:
                    raise BusUnavailable("no answer")

    async with lab.worker(bus=Breaking(lab.server.connect(USER))):
        records = [await lab.ended(key) for key in keys]
    assert [record.outcome for record in records] == [Outcome.SUCCESS] * 4
    assert [lab.starts(key) for key in keys] == [1] * 4
    assert len(readings) == 2


async def test_the_folder_without_a_token(lab: Lab) -> None:
    """Died between the folder and the token: started now."""
    key = await lab.submit_marked("true")
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    lab.spool.attempt(key.uuid, 1).create()
    async with lab.worker():
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1


async def test_a_token_whose_command_is_unknown(lab: Lab) -> None:
    """Died between the token and the spawn: lost, with that text, and never started."""
    key = await lab.submit_marked("true")
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    folder = lab.spool.attempt(key.uuid, 1)
    folder.create()
    folder.start.write_text("")
    async with lab.worker():
        record = await lab.ended(key)
    assert (record.status, record.outcome, record.provisional) == (Status.LOST, Outcome.LOST, False)
    assert record.reason == "the keeper died while it started the command: whether it ran is unknown"
    assert lab.starts(key) == 0


async def test_cancelled_while_nobody_was_there(lab: Lab) -> None:
    """The wish stands in the record; the next worker fulfils it."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 60")
        await lab.begun(key)
    with pytest.raises(Exception, match=r"."):
        await lab.cancel(key)  # the nudge finds nobody
    async with lab.worker():
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.CANCELLED, 143)
    assert not _marked(key.uuid)


async def test_cancelled_before_it_was_started(lab: Lab) -> None:
    """A claim without a token and a wish to cancel: never started."""
    key = await lab.submit_marked("true")
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    with pytest.raises(Exception, match=r"."):
        await lab.cancel(key)
    async with lab.worker():
        record = await lab.ended(key)
    assert record.outcome is Outcome.CANCELLED
    assert lab.starts(key) == 0


async def test_cleared_while_it_ran(lab: Lab) -> None:
    """A record that is gone is not written again."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.5")
        await lab.begun(key)
        await lab.records.delete(str(key), (await lab.entry(key)).revision)
        await until(lambda: lab.reported(key))
    assert await lab.records.get(str(key), leader=True) is None


async def test_the_keeper_dies(lab: Lab) -> None:
    """Nobody knows how a command ended whose parent died: lost, not started again."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 2.5")
        await lab.begun(key)
        os.kill(_keeper_pid(lab), signal.SIGKILL)
        record = await lab.ended(key)
        again = await lab.ended(await lab.submit("true"))
    assert (record.outcome, again.outcome) == (Outcome.LOST, Outcome.SUCCESS)
    assert lab.starts(key) == 1


def _keeper_pid(lab: Lab) -> int:
    words = str(lab.spool.path).encode()
    for row in proc.snapshot():
        try:
            line = Path(f"/proc/{row.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words in line and b"-S" in line:
            return row.pid
    raise AssertionError("no keeper")


async def test_logs_go_on_without_doubles(lab: Lab) -> None:
    """A restarted worker goes on after the last stored chunk, also where it died right after storing it."""
    bus = FaultyBus(lab.server.connect("ann"))
    async with lab.worker(bus=bus):
        key = await lab.submit_marked("for i in 1 2 3 4 5 6 7 8; do seq 1 2000; sleep 0.15; done")
        await until(lambda: _several(lab, key))
        bus.after = once("qme.logs")
        await asyncio.sleep(0.2)
    async with lab.worker():
        await lab.ended(key)
    assert await lab.output(key) == b"".join(b"%d\n" % n for n in range(1, 2001)) * 8


async def _several(lab: Lab, key: TaskKey) -> bool:
    return len(await lab.chunks(key)) > 2


async def test_a_restart_takes_nothing_twice(lab: Lab) -> None:
    """A message that was not acknowledged before the worker went is dropped by the next one."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 1")
        await lab.begun(key)
    await lab.enqueue(key)
    async with lab.worker():
        record = await lab.ended(key)
    assert record.outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1
    keeper = Keeper(lab.spool)
    await keeper.connect()
    assert keeper.running() == {}
    await keeper.close()


async def test_odd_things_in_the_spool(lab: Lab) -> None:
    """What can't be read is passed over, also where a record gives it to this worker; the others are run."""
    keys = [await lab.submit_marked("true") for _ in range(4)]
    for key in keys[:3]:
        await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
        await lab.change(key, Started(1, now()))
    folders = [lab.spool.attempt(key.uuid, 1) for key in keys]
    folders[0].path.write_text("a file")
    folders[1].path.symlink_to("/nosuch/place")
    folders[2].create()
    (folders[2].path / "start").symlink_to("start")
    (folders[2].path / "reported").mkdir()
    lab.spool.attempt(str(uuid7()), 1).path.symlink_to("loop")
    async with lab.worker():
        assert (await lab.ended(keys[3])).outcome is Outcome.SUCCESS


async def test_a_folder_that_cannot_be_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES or EIO for one folder is that folder's trouble alone, at the start and when cleaning."""
    from qme.worker import adopt, loop, spooled

    lab.spool.attempt(str(uuid7()), 1).create()
    passed = asyncio.Event()

    def unreadable(folder: object) -> bool:
        passed.set()
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(adopt, "is_reported", unreadable)
    monkeypatch.setattr(spooled, "is_reported", unreadable)
    monkeypatch.setattr(loop, "CLEANING", 0.05)
    async with lab.worker():
        await passed.wait()
        key = await lab.submit("true")
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
        await asyncio.sleep(0.2)


async def test_a_worker_says_what_broke_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that there was a group of failures."""
    from qme.worker import loop

    async def broken(self: object) -> None:
        raise RuntimeError("this very thing")

    monkeypatch.setattr(loop.Worker, "_clean", broken)
    with pytest.raises(RuntimeError, match="this very thing"):
        async with lab.worker():
            await asyncio.sleep(5)


async def test_nothing_is_cleaned_before_all_is_taken_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an executor noted of a job that has waited for weeks would be gone: it would be submitted once more."""

    class Reluctant(FaultyBus):
        async def read(self, stream: str, subject: str = ">", *, start: int = 1) -> AsyncIterator[Message]:
            """Fail for a while where all records of a pool are read."""
            if stream == lab.records.stream and len(failed) < 3:
                failed.append(True)
                raise BusUnavailable
            async for message in lab.bus.read(stream, subject, start=start):
                yield message

    failed: list[bool] = []
    held: list[frozenset[Which]] = []

    def clean(spool: Spool, settings: Settings, worker: str, these: frozenset[Which]) -> int:
        held.append(these)
        return 0

    monkeypatch.setattr(loop, "AGAIN", 0.2)
    monkeypatch.setattr(loop, "FIRST_CLEANING", 0.0)
    monkeypatch.setattr(loop, "CLEANING", 0.05)
    monkeypatch.setattr(spooled, "clean", clean)
    key = await lab.submit("sleep", "60")
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    await lab.bus.purge(subjects.TASKS, subjects.queue_subject(key))
    async with lab.worker(bus=Reluctant(lab.server.connect(USER))):
        await lab.running(key)
        count = len(held)
        await until(lambda: _more(held, count))
    assert len(failed) == 3
    assert all((key.uuid, 1) in these for these in held)


async def _more(held: list[frozenset[Which]], count: int) -> bool:
    return len(held) > count


@pytest.mark.parametrize("odd", [{"uid": "shell-no-uuid"}, {"attempt": 0}, {"pool": "other"}])
async def test_an_odd_record_stops_no_worker(lab: Lab, odd: dict[str, Any]) -> None:
    """Any worker of the pool may have written it; the others pass it over, and take up what is theirs."""
    key = await lab.submit("true")
    entry = await lab.entry(key)
    await lab.records.update(str(key), entry.value.model_copy(update=odd), entry.revision)
    mine = await lab.submit("true")
    await lab.change(mine, Claimed(lab.spool.worker_id, "n", 1, now()))
    await lab.bus.purge(subjects.TASKS, subjects.EVERY_QUEUE)
    async with lab.worker():
        assert (await lab.ended(mine)).outcome is Outcome.SUCCESS
        assert (await lab.ended(await lab.submit("true"))).outcome is Outcome.SUCCESS
