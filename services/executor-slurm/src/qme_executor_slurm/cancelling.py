"""Ends jobs in Slurm, our own ones only: one squeue to see whose they are, and one scancel, for all that wait for it.

That scancel succeeds means nothing: a job has ended when its state says so, which the poller sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from qme.observe.logging import get_logger
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.identity import own
from qme_executor_slurm.jobs import Job

log = get_logger(__name__)

#: seconds in which those gather who share one scancel
GATHERING = 0.3
#: names in one scancel
MOST = 100


@dataclass(slots=True)
class _Round:
    """What is ended together: jobs, and the parts of them that are meant (none: all of it)."""

    wishes: list[tuple[Job, Sequence[str]]] = field(default_factory=list)
    done: asyncio.Task[None] | None = None


class Cancelling:
    """The cancels of one worker."""

    def __init__(self, slurm: Slurm) -> None:
        self._slurm = slurm
        self._gathering: dict[str | None, _Round] = {}

    async def end(self, job: Job, clusters: str | None, parts: Sequence[str] = ()) -> None:
        """Tell Slurm to end a job, or some parts of it. Raises NoAnswer. Safe to repeat.

        Nothing is done to a job that Slurm's controller does not show, or shows to be another than ours.
        """
        if clusters == "all" or "," in (clusters or ""):
            # Each cluster has numbers of its own: there may be another job of ours with this one.
            raise NoAnswer(f"on which of the clusters {clusters} the job is, is not known; scancel it there")
        gathering = self._gathering.setdefault(clusters, _Round())
        gathering.wishes.append((job, parts))
        if gathering.done is None:
            gathering.done = asyncio.create_task(self._end(clusters))
        await asyncio.shield(gathering.done)

    async def _end(self, clusters: str | None) -> None:
        await asyncio.sleep(GATHERING)
        wishes = self._gathering.pop(clusters).wishes
        shown = {job.id for job, _ in wishes}
        rows = [row for row in await self._slurm.queue(clusters) if row.id.job in shown]
        names: dict[str, None] = {}
        for job, parts in wishes:
            if own(job, rows):
                names |= dict.fromkeys(parts or [str(job.id)])
            elif any(row.id.job == job.id for row in rows):
                log.warning("slurm.not_ours", job=job.id, problem="its number belongs to another job now")
        wanted = list(names)
        for at in range(0, len(wanted), MOST):
            await self._slurm.cancel(wanted[at : at + MOST], clusters)
