"""Slurm workers that die, on a real bus and a real Slurm, and what must be true of the jobs afterwards."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.integration.nats_server import NatsServer
from tests.slurm.cluster import Cluster
from tests.unit.worker.lab import Lab, until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import TaskRecord
from qme_executor_slurm import lookup, parsers, queries
from qme_executor_slurm.lookup import Found

ROOT = Path(__file__).parents[2]


class Workers:
    """One pool of Slurm workers; those of one home have one spool, and one of them lives at a time."""

    def __init__(self, slurm: Cluster, server: NatsServer, lab: Lab) -> None:
        self.slurm = slurm
        self.lab = lab
        self._server = server
        self._since = datetime.now(UTC)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self, point: str = "never", *settings: str, home: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker that dies at a point; with another `home` it is another worker of the pool."""
        words = [self._server.url, str(home or self.lab.home), point, *settings]
        with (self.lab.home / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.slurm.dying_worker", *words],
                cwd=ROOT,
                env=self.slurm.env,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def kill(self) -> None:
        """Leave no worker behind, whatever became of the test."""
        for process in self._started:
            process.kill()
            process.wait()

    @asynccontextmanager
    async def worker(self, *settings: str) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Have a worker that does not die; ended with TERM."""
        process = self.start("never", *settings)
        try:
            yield process
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)

    async def submit(self, *words: str) -> TaskKey:
        """Submit an sbatch that works in the cluster's own folder."""
        return await self.lab.submit("sbatch", *words, cwd=str(self.slurm.work))

    async def ended(self, keys: Sequence[TaskKey], seconds: float = 50) -> list[TaskRecord]:
        """Wait for the end of tasks."""

        async def all_ended() -> list[TaskRecord]:
            records = [(await self.lab.entry(key)).value for key in keys]
            return records if all(record.ended for record in records) else []

        return await until(all_ended, seconds)

    def jobs(self, key: TaskKey) -> list[Found]:
        """All jobs that Slurm has, or ever had, of a task's first attempt."""
        accounts = parsers.accounting(self.slurm.ok(queries.sacct_all(self._since, uid=os.getuid())))
        return lookup.find(key.uuid, 1, self.slurm.queue(), accounts)
