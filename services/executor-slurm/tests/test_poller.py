"""What a look at Slurm costs, and what the poller makes of silence. The answers are made up, the poller is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from qme_executor_slurm import parsers
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.pace import Limits
from qme_executor_slurm.parsers import DIVIDER
from qme_executor_slurm.poller import Poller, Watch
from qme_executor_slurm.polling import Rules

QUICK = Limits(first=0.02, longest=0.05, floor=0.01, longest_after_failures=0.1)


class Scripted(Slurm):
    """A Slurm whose programs say what a test wants."""

    def __init__(self) -> None:
        super().__init__(1.0, 1000)
        self.asked: list[str] = []
        self.states: dict[int, str] = {}
        self.silent: set[str] = set()

    async def told(self, argv: Sequence[str]) -> str:
        """Answer from the table."""
        self.asked.append(argv[0])
        if argv[0] in self.silent:
            raise NoAnswer(f"{argv[0]} is silent")
        if argv[0] == "squeue":
            return "".join(_row(job, state) for job, state in self.states.items() if state != "gone")
        return "MinJobAge = 300 sec\nAccountingStorageType = accounting_storage/slurmdbd\n"


def _row(job: int, state: str) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    values = dict.fromkeys(parsers.QUEUE_COLUMNS, "")
    values |= {"JobArrayID": str(job), "State": state, "SubmitTime": now, "StartTime": now, "EndTime": now}
    values |= {"exit_code": "0:0", "RestartCnt": "0", "NodeList": "n1", "Comment": f"qme:u{job}:1"}
    return "".join(f"{value}{DIVIDER}" for value in values.values()) + "\n"


@asynccontextmanager
async def polling(slurm: Slurm) -> AsyncIterator[Poller]:
    """Run a poller."""
    poller = Poller(slurm, QUICK, Rules())
    running = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def follow(poller: Poller, job: int) -> Watch:
    """Follow a job that was submitted just now."""
    return poller.add(Job(job, datetime.now(UTC), (f"u{job}", 1)), None)


async def until(watch: Watch, condition: Any) -> None:
    """Wait for news that are so."""
    async with asyncio.timeout(5):
        while not condition(watch):
            watch.changed.clear()
            await watch.changed.wait()


async def test_an_idle_poller_asks_nothing() -> None:
    """No command is run while there is no job, and none after the last one."""
    slurm = Scripted()
    async with polling(slurm) as poller:
        await asyncio.sleep(0.1)
        assert slurm.asked == []
        slurm.states = {1: "COMPLETED"}
        watch = follow(poller, 1)
        await until(watch, lambda watch: watch.job.ending)
        poller.discard(watch)
        await asyncio.sleep(0.1)
        asked = len(slurm.asked)
        await asyncio.sleep(0.2)
        assert len(slurm.asked) == asked


@pytest.mark.parametrize("jobs", [1, 1000])
async def test_a_look_costs_the_same_for_any_number(jobs: int) -> None:
    """One squeue for all; the cluster's settings are read once."""
    slurm = Scripted()
    slurm.states = dict.fromkeys(range(1, jobs + 1), "PENDING")
    poller = Poller(slurm, QUICK, Rules())
    for job in slurm.states:
        follow(poller, job)
    await poller.cycle()
    await poller.cycle()
    assert slurm.asked == ["scontrol", "squeue", "squeue"]


async def test_jobs_that_left_squeue_cost_one_more() -> None:
    """One sacct for all of them."""
    slurm = Scripted()
    slurm.states = dict.fromkeys(range(1, 500), "RUNNING")
    poller = Poller(slurm, QUICK, Rules())
    for job in slurm.states:
        follow(poller, job)
    await poller.cycle()
    slurm.states = dict.fromkeys(slurm.states, "gone")
    slurm.asked.clear()
    await poller.cycle()
    assert slurm.asked == ["squeue", "sacct"]


async def test_silence_is_no_ending() -> None:
    """A job stays as it was while squeue fails; the trouble is told, and told to be over."""
    slurm = Scripted()
    slurm.states = {1: "RUNNING"}
    async with polling(slurm) as poller:
        watch = follow(poller, 1)
        await until(watch, lambda watch: watch.job.started)
        slurm.silent = {"squeue"}
        await until(watch, lambda watch: watch.trouble == "squeue is silent")
        assert watch.job.ending is None
        slurm.silent = set()
        await until(watch, lambda watch: watch.trouble is None)
        slurm.states = {1: "COMPLETED"}
        await until(watch, lambda watch: watch.job.ending)


async def test_silent_accounting() -> None:
    """What squeue no longer shows is not judged while sacct fails; what it shows is."""
    slurm = Scripted()
    slurm.states = {1: "RUNNING", 2: "RUNNING"}
    slurm.silent = {"sacct"}
    async with polling(slurm) as poller:
        gone, shown = follow(poller, 1), follow(poller, 2)
        await until(gone, lambda watch: watch.job.started)
        slurm.states = {1: "gone", 2: "COMPLETED"}
        await until(shown, lambda watch: watch.job.ending)
        assert gone.job.ending is None


async def test_what_may_run_again_is_asked_once_for_each_job() -> None:
    """However many elements lost their node; and a controller that hangs is not asked for each of them."""
    slurm = Lapsed()
    poller = Poller(slurm, QUICK, Rules())
    watches = [follow(poller, job) for job in (1, 2, 3)]
    await poller.cycle()
    assert [len(watch.job.parts) for watch in watches] == [50] * 3
    slurm.asked.clear()
    await poller.cycle()
    assert slurm.asked == ["squeue", *["scontrol"] * 3]
    assert all(part.ending for watch in watches[:1] for part in watch.job.parts.values())
    slurm.silent = {"scontrol"}
    watches = [follow(poller, job) for job in (4, 5, 6)]
    await poller.cycle()
    slurm.asked.clear()
    await poller.cycle()
    assert slurm.asked == ["squeue", "scontrol"]
    assert not any(watch.job.ending for watch in watches)


class Lapsed(Scripted):
    """Shows arrays whose elements all lost their nodes, and are not to be run again."""

    async def told(self, argv: Sequence[str]) -> str:
        """Answer."""
        if argv[:2] == ["squeue", "--me"]:
            await super().told(argv)
            rows = (_row(job, "NODE_FAIL") for job in range(1, 7))
            return "".join(
                row.replace(f"{job}{DIVIDER}", f"{job}_[0-49]{DIVIDER}", 1) for job, row in enumerate(rows, 1)
            )
        text = await super().told(argv)
        if argv[0] == "scontrol" and "job" in argv:
            return "".join(
                f"JobId=9 ArrayJobId={argv[-1]} ArrayTaskId={n}\n   Requeue=0\n" for n in range(50)
            )
        return text
