"""What is told to scancel, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from qme_executor_slurm import parsers
from qme_executor_slurm.cancelling import MOST, Cancelling
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.parsers import DIVIDER

NOW = datetime.now(UTC)


class Scripted(Slurm):
    """Shows jobs by their comments, and notes what it is told."""

    def __init__(self, **comments: str) -> None:
        super().__init__(1.0, 1000)
        self.comments = comments
        self.asked: list[Sequence[str]] = []
        self.silent = False

    async def told(self, argv: Sequence[str]) -> str:
        """Answer."""
        if self.silent:
            raise NoAnswer("silent")
        self.asked.append(argv)
        return "".join(
            "".join(
                {"JobArrayID": name[1:], "Comment": comment}.get(column, "") + DIVIDER for column in columns
            )
            + "\n"
            for name, comment in self.comments.items()
            for columns in [parsers.QUEUE_COLUMNS]
        )

    @property
    def ended(self) -> list[Sequence[str]]:
        """What scancel was told."""
        return [argv[1:] for argv in self.asked if argv[0] == "scancel"]


def job(number: int) -> Job:
    """A job with a marker of its own."""
    return Job(number, NOW, (f"u{number}", 1))


async def test_many_are_ended_by_one_command() -> None:
    """One squeue and one scancel; very many are divided."""
    slurm = Scripted(**{f"j{n}": f"qme:u{n}:1" for n in range(1, MOST + 6)})
    cancelling = Cancelling(slurm)
    await asyncio.gather(*(cancelling.end(job(n), None) for n in range(1, MOST + 6)))
    assert [argv[0] for argv in slurm.asked] == ["squeue", "scancel", "scancel"]
    assert [len(words) for words in slurm.ended] == [MOST, 5]


async def test_only_jobs_that_are_ours() -> None:
    """Not one whose number another job has by now, and not one that is not there."""
    slurm = Scripted(j1="qme:u1:1", j2="somebody else's", j3="qme:u3:2")
    cancelling = Cancelling(slurm)
    await asyncio.gather(*(cancelling.end(job(n), None) for n in (1, 2, 3, 4)))
    assert slurm.ended == [["1"]]


async def test_nothing_of_ours_means_no_command() -> None:
    """An empty scancel would be an error, or worse."""
    slurm = Scripted(j2="qme:other:1")
    await Cancelling(slurm).end(job(2), None)
    assert slurm.ended == []


async def test_elements() -> None:
    """Parts of an array by name, of our array only."""
    slurm = Scripted(j7_1="qme:u7:1", j7_2="qme:u7:1")
    await Cancelling(slurm).end(job(7), None, ["7_1", "7_9"])
    assert slurm.ended == [["7_1", "7_9"]]


async def test_silence_is_told_to_all_that_asked() -> None:
    """Whoever wanted a job ended asks again, and is heard then."""
    slurm = Scripted(j1="qme:u1:1")
    slurm.silent = True
    cancelling = Cancelling(slurm)
    found = await asyncio.gather(*(cancelling.end(job(1), None) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in found] == [NoAnswer, NoAnswer]
    slurm.silent = False
    await cancelling.end(job(1), None)
    assert slurm.ended == [["1"]]


@pytest.mark.parametrize("clusters", ["far", None])
async def test_each_cluster_by_itself(clusters: str | None) -> None:
    """Commands name the cluster that the job was submitted to."""
    slurm = Scripted(j1="qme:u1:1")
    await Cancelling(slurm).end(job(1), clusters)
    assert slurm.ended == [[*(["-M", clusters] if clusters else []), "1"]]


@pytest.mark.parametrize("clusters", ["all", "near,far"])
async def test_no_number_is_ended_on_several_clusters(clusters: str) -> None:
    """Each cluster has numbers of its own: another job of ours may have this one elsewhere."""
    slurm = Scripted(j1="qme:u1:1")
    with pytest.raises(NoAnswer, match="is not known; scancel it there"):
        await Cancelling(slurm).end(job(1), clusters)
    assert slurm.ended == []
