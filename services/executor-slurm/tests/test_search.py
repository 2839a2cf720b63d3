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
from qme_executor_slurm.search import Search, Unknowable


class Scripted(Slurm):
    """Shows one job, of the cluster `on`; programs named in `silent` fail."""

    def __init__(self, *silent: str, on: str | None = None, **config: str) -> None:
        super().__init__(1.0, 1000)
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        self._silent = silent
        self._on = on
        self._config = config

    async def told(self, argv: Sequence[str]) -> str:
        """Answer."""
        self.asked.append(argv[0])
        if argv[0] in self._silent:
            raise NoAnswer(f"{argv[0]} is silent")
        if argv[0] == "squeue":
            self.begun.set()
        if argv[0] == "scontrol":
            return "".join(f"{name} = {value}\n" for name, value in self._config.items())
        if argv[0] == "sacct" or (self._on and self._on not in argv):
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


def calls_ago(seconds: float) -> tuple[Open, float]:
    """A call so long ago, since when nothing is known."""
    calls = ago(seconds)
    return calls, calls.first


async def test_many_search_together() -> None:
    """One squeue and one sacct for all; each finds its own."""
    slurm = Scripted()
    one = search(slurm)
    found = await asyncio.gather(*(one.find((uuid, 1), *calls_ago(60)) for uuid in ["u", *"abcdefgh"]))
    assert [jobs for jobs, _ in found] == [[Found(7)], *[[]] * 8]
    assert slurm.asked == ["scontrol", "squeue", "sacct"]


async def test_who_comes_later_is_answered_by_a_later_look() -> None:
    """An answer that was asked for before a call was over says nothing about it."""
    slurm = Scripted()
    one = search(slurm)
    first = asyncio.create_task(one.find(("u", 1), *calls_ago(60)))
    await slurm.begun.wait()
    await one.find(("v", 1), *calls_ago(0))
    await first
    assert slurm.asked.count("squeue") == 2


async def test_silent_accounting() -> None:
    """The queue is enough for what is recent, and for what it shows; for an old call nobody knows."""
    one = search(Scripted("sacct"))
    assert await one.find(("v", 1), *calls_ago(60)) == ([], None)
    assert await one.find(("u", 1), *calls_ago(6000)) == ([Found(7)], None)
    with pytest.raises(NoAnswer):
        await one.find(("v", 1), *calls_ago(6000))


async def test_a_look_a_moment_ago_bridges_silent_accounting() -> None:
    """Whatever was there between two looks at squeue, the second one still shows."""
    assert await search(Scripted("sacct")).find(("v", 1), ago(6000), time.time() - 60) == ([], None)


async def test_a_controller_that_forgets_soon() -> None:
    """How long squeue remembers is asked of the cluster before anything is concluded from its silence."""
    forgetful = Scripted("sacct", MinJobAge="10 sec")
    with pytest.raises(NoAnswer):
        await search(forgetful).find(("v", 1), *calls_ago(60))


async def test_a_cluster_without_accounts() -> None:
    """After a long absence squeue says nothing about a job that may have ended, and nobody else ever will."""
    bare = {"AccountingStorageType": "accounting_storage/none"}
    assert await search(Scripted(**bare)).find(("v", 1), *calls_ago(60)) == ([], None)
    assert await search(Scripted(**bare)).find(("u", 1), *calls_ago(6000)) == ([Found(7)], None)
    with pytest.raises(Unknowable, match="keeps no accounts"):
        await search(Scripted(**bare)).find(("v", 1), *calls_ago(6000))


class Old(Scripted):
    """A sacct that knows no command lines."""

    async def told(self, argv: Sequence[str]) -> str:
        """Answer, or refuse the column."""
        if argv[0] == "sacct" and "SubmitLine" in ",".join(argv):
            self.asked.append("refused")
            raise NoAnswer('sacct: error: Invalid field requested: "SubmitLine"')
        return await super().told(argv)


async def test_accounting_without_command_lines() -> None:
    """It is asked for what it knows; that it shows no marker means nothing about a job that squeue has forgotten."""
    slurm = Old()
    one = search(slurm)
    assert await one.find(("v", 1), *calls_ago(60)) == ([], None)
    assert slurm.asked == ["scontrol", "squeue", "refused", "sacct"]
    with pytest.raises(Unknowable):
        await one.find(("v", 1), *calls_ago(6000))
    assert slurm.asked.count("refused") == 1


async def test_several_clusters_are_asked_one_by_one() -> None:
    """Each has numbers of its own, so it has to be known on which the job is."""
    at = time.time() - 60
    slurm = Scripted(on="far")
    assert await search(slurm).find(("u", 1), Open(at, at, "near,far"), at) == ([Found(7)], "far")
    assert await search(slurm).find(("v", 1), Open(at, at, "near,far"), at) == ([], "near,far")


async def test_a_silent_controller() -> None:
    """Without squeue, nothing is known, whatever accounting says."""
    with pytest.raises(NoAnswer):
        await search(Scripted("squeue")).find(("u", 1), *calls_ago(1))
