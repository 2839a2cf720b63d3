"""A wish to cancel, at every point of a task's life."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from tests.unit.worker.lab import USER, FaultyBus, Lab, now, until
from tests.unit.worker.test_running import _marked

from qme.contracts.tasks import Outcome, Status
from qme.executor.base import Result, Task
from qme.executor.keeper import proc
from qme.lifecycle import CancelAsked
from qme_executor_shell import ShellExecutor, ShellSettings


async def test_before_it_is_claimed(lab: Lab) -> None:
    """A task cancelled in the queue ends there and is never started."""
    key = await lab.submit_marked("true")
    record = await lab.cancel(key)
    assert record.status is Status.CANCELLED
    async with lab.worker():
        await lab.ended(await lab.submit("true"))
    assert lab.starts(key) == 0


async def test_while_it_runs(lab: Lab) -> None:
    """The nudge ends the whole tree at once; the code is kept, and who wanted it."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "sleep 60 & sleep 60")
        await lab.running(key)
        begin = time.monotonic()
        await lab.cancel(key)
        record = await lab.ended(key)
    assert time.monotonic() - begin < 3
    assert (record.status, record.outcome) == (Status.CANCELLED, Outcome.CANCELLED)
    assert (record.data["returncode"], record.reason) == (143, "cancelled by ann: enough")
    assert not _marked(key.uuid)


async def test_without_a_nudge(lab: Lab) -> None:
    """A nudge that never came is made up for by the heartbeat."""
    async with lab.worker():
        key = await lab.submit("sleep", "60")
        await lab.running(key)
        entry = await lab.entry(key)
        wish = {"by": USER, "at": now()}
        await lab.records.update(
            str(key),
            type(entry.value).model_validate({**entry.value.model_dump(), "cancel": wish}),
            entry.revision,
        )
        record = await lab.ended(key)
    assert record.outcome is Outcome.CANCELLED


async def test_what_ignores_term(lab: Lab) -> None:
    """KILL follows after the grace time."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        await lab.running(key)
        await lab.cancel(key)
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.CANCELLED, 137)
    assert not _marked(key.uuid)


async def test_what_ends_well_when_asked(lab: Lab) -> None:
    """A command that answers TERM with code 0 was cancelled all the same."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
        await lab.running(key)
        await lab.cancel(key)
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.CANCELLED, 0)


@pytest.mark.parametrize("code", [0, 3])
async def test_after_it_has_ended_by_itself(lab: Lab, code: int) -> None:
    """A wish written between the command's end and its record loses: what happened counts."""
    bus = FaultyBus(lab.server.connect("ann"))
    async with lab.worker(bus=bus):
        key = await lab.submit("sh", "-c", f"echo x; exit {code}")
        held = asyncio.Event()
        append = bus.append

        async def slow(subject: str, data: bytes, **options: object) -> object:
            if subject.startswith("qme.logs"):
                await held.wait()
            return await append(subject, data, **options)  # type: ignore[arg-type]

        bus.append = slow  # type: ignore[method-assign,assignment]
        folder = lab.spool.attempt(key.uuid, 1)
        await lab.record(key, lambda _: folder.read_exit())
        await lab.change(key, CancelAsked(USER, now()))
        held.set()
        record = await lab.ended(key)
    assert record.outcome is (Outcome.FAILED if code else Outcome.SUCCESS)
    assert record.data["returncode"] == code
    assert record.cancel is not None
    assert record.data["output"] == ["x\n"]


async def test_a_wish_older_than_the_exit_record_counts(lab: Lab) -> None:
    """Whoever asked before the end was on record was told that it would be cancelled; the code is kept."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "sleep 0.5; exit 3")
        await lab.begun(key)
        token = lab.spool.attempt(key.uuid, 1).read_token()
        assert token is not None
        assert token.pid is not None
        keeper = proc.process(token.pid)
        assert keeper is not None
        os.kill(keeper.parent, signal.SIGSTOP)
        try:
            await until(lambda: _is_zombie(token.pid or 0))
            await lab.cancel(key)
            await asyncio.sleep(0.3)
        finally:
            os.kill(keeper.parent, signal.SIGCONT)
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.CANCELLED, 3)


async def _is_zombie(pid: int) -> bool:
    row = proc.process(pid)
    return row is not None and not row.alive


async def test_between_claim_and_start(lab: Lab) -> None:
    """A wish that is seen before the start token: nothing is started."""

    async def _wanted(task: Task) -> bool:
        return task.cancelled

    class Slow(ShellExecutor):
        async def execute(self, task: Task) -> Result:
            await until(lambda: _wanted(task))
            return await super().execute(task)

    async with lab.worker(Slow(ShellSettings())):
        key = await lab.submit_marked("true")
        await lab.record(key, lambda record: record.claim is not None)
        await lab.cancel(key)
        record = await lab.ended(key)
    assert (record.outcome, record.reason) == (
        Outcome.CANCELLED,
        "cancelled by ann: enough, before it started",
    )
    assert lab.starts(key) == 0
    assert not (lab.spool.tasks / f"{key.uuid}.1" / "start").exists()
