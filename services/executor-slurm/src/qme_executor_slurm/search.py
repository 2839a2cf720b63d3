"""Looks for the jobs of sbatch calls that gave no answer: two commands for any number of them. Submits nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from qme.errors import QmeError
from qme_executor_slurm import lookup
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.journal import Open
from qme_executor_slurm.lookup import Found
from qme_executor_slurm.parsers import AccountRow, QueueRow
from qme_executor_slurm.poller import Poller

#: seconds in which those gather who share one look
_GATHERING = 0.3


@dataclass(frozen=True, slots=True)
class _Lists:
    queue: list[QueueRow]
    #: or why accounting did not answer
    accounts: list[AccountRow] | NoAnswer


@dataclass(slots=True)
class _Look:
    """A look that has not begun yet: who joins it is answered by commands that start later."""

    since: float
    answer: asyncio.Task[_Lists]


class Unknowable(QmeError):
    """Nobody can tell any more whether there is a job."""

    code = "slurm_unknowable"


class Search:
    """The searches of one worker."""

    def __init__(self, slurm: Slurm, poller: Poller) -> None:
        self._slurm = slurm
        self._poller = poller
        self._gathering: dict[str | None, _Look] = {}

    async def find(
        self, mark: tuple[str, int], calls: Open, known_until: float
    ) -> tuple[list[Found], str | None]:
        """Give the jobs that carry a marker, and the clusters that they are on. Safe to repeat.

        `known_until`: unix seconds up to which it is known that there was none. Raises NoAnswer where nobody can know
        now, Unknowable where nobody ever will.
        """
        await self._poller.fit()
        for clusters in calls.clusters.split(",") if calls.clusters else [None]:
            if found := await self._find(mark, calls.first, known_until, clusters):
                return found, clusters
        return [], calls.clusters

    async def _find(
        self, mark: tuple[str, int], since: float, known_until: float, clusters: str | None
    ) -> list[Found]:
        look = self._gathering.get(clusters)
        if look is None:
            answer = asyncio.create_task(self._ask(clusters))
            look = self._gathering[clusters] = _Look(since, answer)
        look.since = min(look.since, since)
        lists = await asyncio.shield(look.answer)
        rules = self._poller.rules
        accounts = [] if isinstance(lists.accounts, NoAnswer) else lists.accounts
        found = lookup.find(*mark, lists.queue, accounts)
        if rules.accounting and self._slurm.keeps_command_lines and not isinstance(lists.accounts, NoAnswer):
            return found
        # All that was submitted lately still stands in squeue, had it ended or not.
        if found or time.time() - known_until < rules.min_job_age / 2:
            return found
        if isinstance(lists.accounts, NoAnswer):
            raise lists.accounts
        raise Unknowable(
            "sbatch may have submitted a job, and nobody can tell any more: squeue forgets ended ones after "
            f"{rules.min_job_age:g} s, and this cluster keeps no accounts of command lines"
        )

    async def _ask(self, clusters: str | None) -> _Lists:
        await asyncio.sleep(_GATHERING)
        since = datetime.fromtimestamp(self._gathering.pop(clusters).since, UTC)
        queue = await self._slurm.queue(clusters)
        if not self._poller.rules.accounting:
            return _Lists(queue, [])
        try:
            return _Lists(queue, await self._slurm.all_accounts(since, clusters))
        except NoAnswer as error:
            return _Lists(queue, error)
