"""The smallest poller: the product's own questions and decisions, in a loop without manners."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.slurm.cluster import Cluster

from qme_executor_slurm import polling
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.polling import Cycle, Rules


@dataclass
class Poller:
    """Follows jobs until all have ended."""

    slurm: Cluster
    rules: Rules = field(default_factory=Rules)
    jobs: dict[int, Job] = field(default_factory=dict)

    def add(self, job: int, submitted: datetime, mark: tuple[str, int]) -> None:
        """Follow one more."""
        self.jobs[job] = Job(job, submitted, mark)

    def cycle(self, *, queue: bool = True) -> None:
        """Ask once; without `queue` as if the controller had forgotten all jobs."""
        rows = polling.by_job(self.slurm.queue()) if queue else {}
        ask = polling.to_ask(self.jobs.values(), rows, self.rules)
        found = self.slurm.accounts(ask) if ask else []
        accounts = None if found is None else polling.by_job(found)
        requeue = {name: self._requeue(name) for name in polling.provisional(self.jobs.values())}
        now = Cycle(datetime.now(UTC), rows, accounts, requeue)
        self.jobs = {job.id: polling.follow(job, now, self.rules) for job in self.jobs.values()}

    def until(
        self, done: Callable[[Iterable[Job]], bool], timeout: float = 50, *, queue: bool = True
    ) -> None:
        """Go on asking until the jobs look so."""
        end = time.monotonic() + timeout
        while not done(self.jobs.values()):
            assert time.monotonic() < end, [job for job in self.jobs.values() if not job.ending]
            time.sleep(0.3)
            self.cycle(queue=queue)

    def _requeue(self, part: str) -> bool:
        return any(found.requeue for found in self.slurm.details(part) or ())
