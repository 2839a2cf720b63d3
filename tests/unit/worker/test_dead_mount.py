"""A working folder on a file server that does not answer: its task waits and says so, and no other one does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.worker.lab import Lab

from qme.contracts.tasks import Outcome
from qme.executor import workplace
from qme.executor.aside import aside

DEAD = "/dead/home"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The server under DEAD: whoever looks there is stuck until it answers."""
    answers, real = threading.Event(), Path.is_dir

    def is_dir(path: Path) -> bool:
        if str(path) == DEAD:
            answers.wait()
        return real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    yield answers
    answers.set()


async def test_other_tasks_go_on(lab: Lab, answers: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker beats, runs and ends others; once the server answers the task runs too, and the reason is gone."""
    monkeypatch.setattr(workplace, "SLOW", 0.1)
    async with lab.worker():
        stuck = await lab.submit("echo", "late", cwd=DEAD)
        record = await lab.record(stuck, lambda record: record.reason)
        assert record.reason is not None
        assert record.reason.startswith(f"waits for {DEAD} on ")
        assert not (lab.spool.tasks / f"{stuck.uuid}.1" / "start").exists()
        assert (await lab.ended(await lab.submit("true"))).outcome is Outcome.SUCCESS
        answers.set()
        late = await lab.ended(stuck)
        assert (late.outcome, late.reason, await lab.output(stuck)) == (Outcome.SUCCESS, None, b"late\n")


async def test_a_worker_leaves_while_a_mount_is_dead(lab: Lab, answers: threading.Event) -> None:
    """It waits for no thread; the next worker takes the task up and starts it, once."""
    async with lab.worker():
        key = await lab.submit_marked("true")
        await lab.ended(key)
        stuck = await lab.submit("echo", "late", cwd=DEAD)
        await lab.record(stuck, lambda record: record.claim)
    answers.set()
    async with lab.worker():
        assert (await lab.ended(stuck)).outcome is Outcome.SUCCESS


async def test_aside_hands_on_results_and_errors() -> None:
    """What the work gives or raises; cancelled, it is not waited for."""
    assert await aside(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await aside(divmod, 7, 0)
    never = threading.Event()
    waiting = asyncio.create_task(aside(never.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    never.set()
