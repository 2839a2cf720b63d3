"""The one poller of a worker: asks Slurm about all jobs that it is given, and tells each of them what became of it.

Two commands a cycle for any number of jobs of a cluster, none while there is no job. What an answer means is
`polling`'s, when to ask next is `pace`'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from qme.observe.logging import get_logger
from qme_executor_slurm import jobids, polling
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.pace import Limits, Pace
from qme_executor_slurm.polling import Cycle, Rules

log = get_logger(__name__)


class Watch:
    """One job that is followed."""

    def __init__(self, job: Job, clusters: str | None) -> None:
        self.job = job
        self.clusters = clusters
        #: why nothing new is known, while Slurm does not answer
        self.trouble: str | None = None
        self.changed = asyncio.Event()

    def take(self, job: Job) -> bool:
        """Take what is known now; True when that is news."""
        news = (job.ending, job.counts(), _shown(job)) != (
            self.job.ending,
            self.job.counts(),
            _shown(self.job),
        )
        news = news or self.trouble is not None
        self.job, self.trouble = job, None
        if news:
            self.changed.set()
        return news

    def troubled(self, why: str) -> None:
        """Take note that Slurm did not answer."""
        if self.trouble != why:
            self.trouble = why
            self.changed.set()


class Poller:
    """Follows jobs; `run` it beside everything else."""

    def __init__(self, slurm: Slurm, limits: Limits, rules: Rules) -> None:
        self.rules = rules
        self._slurm = slurm
        self._limits = limits
        self._watches: set[Watch] = set()
        self._pace = Pace()
        self._wake = asyncio.Event()
        #: loop time of the next cycle, and of the end of the last one
        self._next = 0.0
        self._last = -float("inf")
        self._fitted = False

    def add(self, job: Job, clusters: str | None, *, soon: bool = False) -> Watch:
        """Begin to follow a job; `soon`: it was submitted a while ago, and may have ended."""
        watch = Watch(job, clusters)
        if not self._watches:
            self._next = float("inf")
        self._watches.add(watch)
        self._slurm.metrics.followed.set(len(self._watches))
        self._pace = replace(self._pace, quiet=0)
        self._hasten(0.0 if soon else self._limits.first)
        return watch

    def discard(self, watch: Watch) -> None:
        """Follow it no more."""
        self._watches.discard(watch)
        self._slurm.metrics.followed.set(len(self._watches))

    def hurry(self) -> None:
        """Look as soon as it is decent: something was done to a job."""
        self._hasten(0.0)

    async def run(self) -> None:
        """Follow for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if not self._watches:
                await self._wake.wait()
                continue
            pause = max(self._next, self._last + self._limits.floor) - loop.time()
            if pause > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                continue
            try:
                await self.cycle()
            except Exception:
                log.exception("slurm.poll_broken")  # a mistake of ours must not end the following of all jobs
                self._pace = self._pace.failed()
            self._last = loop.time()
            self._next = self._last + self._pace.wait(self._limits, random.random())  # noqa: S311

    async def cycle(self) -> None:
        """Ask once about everything."""
        await self.fit()
        clusters = {watch.clusters for watch in self._watches}
        changed = failed = False
        for name in sorted(clusters, key=str):
            # Of those only that were submitted before we ask.
            watches = [watch for watch in self._watches if watch.clusters == name]
            try:
                changed = await self._ask(name, watches) or changed
            except NoAnswer as error:
                failed = True
                log.warning("slurm.no_answer", problem=error.message)
                for watch in watches:
                    watch.troubled(error.message)
        self._slurm.metrics.poll(answered=not failed)
        self._pace = self._pace.failed() if failed else self._pace.after(changed=changed)

    async def _ask(self, clusters: str | None, watches: list[Watch]) -> bool:
        queue = polling.by_job(await self._slurm.queue(clusters))
        jobs = [watch.job for watch in watches]
        ask = polling.to_ask(jobs, queue, self.rules)
        requeue = await self._requeued(polling.provisional(jobs), clusters)
        accounts = None
        if self.rules.accounting:
            wanted = set(ask)
            since = min((job.submitted for job in jobs if job.id in wanted), default=datetime.now(UTC))
            try:
                accounts = polling.by_job(await self._slurm.accounts(ask, since, clusters) if ask else [])
            except NoAnswer as error:
                log.warning("slurm.no_accounting", problem=error.message)
        cycle = Cycle(datetime.now(UTC), queue, accounts, requeue)
        changed = False
        for watch in watches:
            job = polling.follow(watch.job, cycle, self.rules)
            if unknown := job.unknown - watch.job.unknown:
                log.warning("slurm.unknown_state", job=job.id, states=sorted(unknown))
                self._slurm.metrics.unknown_states.inc(len(unknown))
            changed = watch.take(job) or changed
        return changed

    async def _requeued(self, parts: Iterable[str], clusters: str | None) -> dict[str, bool]:
        """Ask whether parts that made way, or lost a node, will be run again; those unanswered are left out.

        One command for each job, however many parts it has; none any more once the controller does not answer.
        """
        wanted = list(parts)
        again: dict[str, bool] = {}
        asked = set()
        for job in dict.fromkeys(jobids.number(part) for part in wanted):
            try:
                details = await self._slurm.details(str(job), clusters)
            except NoAnswer:
                break
            asked.add(job)
            again |= {name: one.requeue for one in details or () for name in one.id.parts()}
        return {part: again.get(part, False) for part in wanted if jobids.number(part) in asked}

    async def fit(self) -> None:
        """Learn once how long this cluster remembers ended jobs, and whether it keeps accounts."""
        if self._fitted:
            return
        try:
            config = await self._slurm.config()
        except NoAnswer:
            return  # the defaults do for now, and squeue will say the same
        self._fitted = True
        age = config.get("MinJobAge", "").split()
        if age and age[0].isdecimal() and int(age[0]):
            self.rules = replace(self.rules, min_job_age=float(age[0]))
            self._limits = self._limits.within(float(age[0]))
        kind = config.get("AccountingStorageType", "accounting_storage/slurmdbd")
        self.rules = replace(self.rules, accounting=kind.endswith("slurmdbd"))

    def _hasten(self, seconds: float) -> None:
        self._next = min(self._next, asyncio.get_running_loop().time() + seconds)
        self._wake.set()


def _shown(job: Job) -> list[tuple[object, ...]]:
    return [
        (part.state, part.reason, part.nodes, part.partition, part.restarts, part.provisional)
        for part in job.parts.values()
    ]
