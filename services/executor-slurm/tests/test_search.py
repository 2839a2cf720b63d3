"""Looking for the jobs of calls without an answer: what it costs, and when "there is none" may be believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from qme_executor_slurm import parsers
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.journal import Open
from qme_executor_slurm.lookup import Found
from qme_executor_slurm.pace import Limits
from qme_executor_slurm.parsers import DIVIDER
from qme_executor_slurm.poller import Poller
from qme_executor_slurm.polling import Rules
from qme_executor_slurm.search import Search


class Scripted(Slurm):
    """Shows one job; programs named in `silent` fail."""

    def __init__(self, *silent: str) -> None:
        super().__init__(1.0, 1000)
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        self._silent = silent

    async def told(self, argv: Sequence[str]) -> str:
        """Answer."""
        self.asked.append(argv[0])
        self.begun.set()
        if argv[0] in self._silent:
            raise NoAnswer(f"{argv[0]} is silent")
        if argv[0] == "sacct":
            return ""
        values = {"JobArrayID": "7", "State": "PENDING", "Comment": "mine qme:u:1"}
        return "".join(values.get(name, "") + DIVIDER for name in parsers.QUEUE_COLUMNS) + "\n"


def search(slurm: Slurm) -> Search:
    """Make a search on a cluster that remembers jobs for five minutes."""
    return Search(slurm, Poller(slurm, Limits(), Rules()))


def ago(seconds: float) -> Open:
    """A call so long ago."""
    at = time.time() - seconds
    return Open(at, at)


async def test_many_search_together() -> None:
    """One squeue and one sacct for all; each finds its own."""
    slurm = Scripted()
    one = search(slurm)
    found = await asyncio.gather(*(one.find((uuid, 1), ago(60)) for uuid in ["u", *"abcdefgh"]))
    assert found == [[Found(7)], *[[]] * 8]
    assert slurm.asked == ["squeue", "sacct"]


async def test_who_comes_later_is_answered_by_a_later_look() -> None:
    """An answer that was asked for before a call was over says nothing about it."""
    slurm = Scripted()
    one = search(slurm)
    first = asyncio.create_task(one.find(("u", 1), ago(60)))
    await slurm.begun.wait()
    await one.find(("v", 1), ago(0))
    await first
    assert slurm.asked.count("squeue") == 2


async def test_silent_accounting() -> None:
    """The queue is enough for what is recent, and for what it shows; for an old call nobody knows."""
    one = search(Scripted("sacct"))
    assert await one.find(("v", 1), ago(60)) == []
    assert await one.find(("u", 1), ago(6000)) == [Found(7)]
    with pytest.raises(NoAnswer):
        await one.find(("v", 1), ago(6000))


async def test_a_silent_controller() -> None:
    """Without squeue, nothing is known, whatever accounting says."""
    with pytest.raises(NoAnswer):
        await search(Scripted("squeue")).find(("u", 1), ago(1))
