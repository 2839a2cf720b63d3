"""Looks for the jobs of sbatch calls that gave no answer: two commands for any number of them. Submits nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

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


class Search:
    """The searches of one worker."""

    def __init__(self, slurm: Slurm, poller: Poller) -> None:
        self._slurm = slurm
        self._poller = poller
        self._gathering: dict[str | None, _Look] = {}

    async def find(self, mark: tuple[str, int], calls: Open) -> list[Found]:
        """Give the jobs that carry a marker. Raises NoAnswer where nobody could know. Safe to repeat."""
        look = self._gathering.get(calls.clusters)
        if look is None:
            answer = asyncio.create_task(self._ask(calls.clusters))
            look = self._gathering[calls.clusters] = _Look(calls.first, answer)
        look.since = min(look.since, calls.first)
        lists = await asyncio.shield(look.answer)
        if not isinstance(lists.accounts, NoAnswer):
            return lookup.find(*mark, lists.queue, lists.accounts)
        found = lookup.find(*mark, lists.queue)
        # All that was submitted lately still stands in squeue, had it ended or not.
        if found or time.time() - calls.first < self._poller.rules.min_job_age / 2:
            return found
        raise lists.accounts

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
