"""Runs Slurm's programs: short commands, few at a time, each with a time limit. Decides nothing; `queries` words them,
`parsers` reads them.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from qme.errors import QmeError
from qme.executor import Captured, capture
from qme.executor.environment import build_environment
from qme_executor_slurm import parsers, queries, sbatch
from qme_executor_slurm.metrics import SlurmMetrics
from qme_executor_slurm.parsers import AccountRow, Details, QueueRow

#: bytes of a list: some hundred thousand jobs
_LARGEST = 128 << 20
#: characters of what a failed query printed that are shown where it did not complain
_SAID = 200
#: seconds beyond its own time limit after which sbatch's wrapper is given up on
_SLACK = 5.0
#: Queries that run at a time: a login node is not ours alone.
_TOGETHER = 4
#: The umask is passed on to the job; the time limit holds also when we die meanwhile, so that the end of an sbatch that
#: nobody watches any more is known.
_BOUNDED = f'umask "$0" && exec {shlex.quote(shutil.which("timeout") or "timeout")} -s KILL "$@"'

#: by its path, since a task may bring a PATH of its own
_ENV = shutil.which("env") or "env"


class NoAnswer(QmeError):
    """Slurm gave no answer."""

    code = "slurm_no_answer"
    retryable = True


class Slurm:
    """Slurm's programs, for one account."""

    def __init__(self, timeout: float, uid: int, metrics: SlurmMetrics | None = None) -> None:
        """`timeout`: seconds that a query may take; `uid`: the account's number."""
        self.metrics = metrics or SlurmMetrics()
        self._timeout = timeout
        self._uid = uid
        self._columns: Sequence[str] = parsers.ACCOUNT_COLUMNS
        self._room = asyncio.Semaphore(_TOGETHER)

    async def queue(self, clusters: str | None) -> list[QueueRow]:
        """Give all that squeue shows. Raises NoAnswer."""
        return parsers.queue(await self.told(queries.squeue(clusters)))

    async def accounts(self, jobs: Sequence[int], since: datetime, clusters: str | None) -> list[AccountRow]:
        """Give what sacct has of some jobs. Raises NoAnswer."""
        found: list[AccountRow] = []
        for at in range(0, len(jobs), queries.MOST_IDS):
            some = jobs[at : at + queries.MOST_IDS]
            found += await self._accounts(partial(queries.sacct, some, since, clusters, uid=self._uid))
        return found

    async def all_accounts(self, since: datetime, clusters: str | None) -> list[AccountRow]:
        """Give what sacct has of all the account's jobs since then. Raises NoAnswer."""
        return await self._accounts(partial(queries.sacct_all, since, clusters, uid=self._uid))

    @property
    def keeps_command_lines(self) -> bool:
        """Accounting shows the marker of every job: in its command line, which it has kept since Slurm 21.08."""
        return "SubmitLine" in self._columns

    async def _accounts(self, worded: Callable[[Sequence[str]], list[str]]) -> list[AccountRow]:
        try:
            text = await self.told(worded(self._columns))
        except NoAnswer as error:
            known = tuple(name for name in self._columns if name not in error.message)
            if "Invalid field requested" not in error.message or known == self._columns:
                raise
            self._columns = known
            text = await self.told(worded(known))
        return parsers.accounting(text, self._columns)

    async def details(self, job: str, clusters: str | None = None) -> list[Details] | None:
        """Give scontrol's records of a job; None: it knows it no longer. Raises NoAnswer."""
        try:
            return parsers.details(await self.told(queries.show(job, clusters)))
        except NoAnswer as error:
            if parsers.forgotten(error.message):
                return None
            raise

    async def patterns(self, job: str, clusters: str | None = None) -> tuple[str, str] | None:
        """Give where stdout and stderr were asked to go; None: the job is known no longer. Raises NoAnswer."""
        try:
            return parsers.patterns(await self.told(queries.patterns(job, clusters)))
        except NoAnswer as error:
            if parsers.forgotten(error.message):
                return None
            raise

    async def host(self, node: str, clusters: str | None = None) -> str | None:
        """Give the name that a node calls itself by. Raises NoAnswer."""
        return parsers.host(await self.told(queries.node(node, clusters)))

    async def config(self) -> dict[str, str]:
        """Give the cluster's settings. Raises NoAnswer."""
        return parsers.config(await self.told(queries.config()))

    async def cancel(self, parts: Iterable[str], clusters: str | None = None) -> None:
        """Ask for the end of jobs; what became of it, only their states tell. Raises NoAnswer. Safe to repeat."""
        await self.told(queries.cancel(parts, clusters))

    async def told(self, argv: Sequence[str]) -> str:
        """Give what a query prints. Raises NoAnswer with its own complaint when it fails or takes too long."""
        async with self._room:
            begun = time.monotonic()
            try:
                done = await capture(
                    argv,
                    self._timeout,
                    sbatch.query_environment(_cleaned(os.environ)),
                    limit_bytes=_LARGEST,
                )
            except OSError as error:
                raise NoAnswer(f"{argv[0]} can't be run: {error.strerror}") from error
        result = "timeout" if done.timed_out else "error" if done.returncode or done.truncated else "ok"
        self.metrics.command(argv[0], result, time.monotonic() - begun)
        if done.timed_out:
            raise NoAnswer(f"{argv[0]} gave no answer within {self._timeout:g} s")
        if done.returncode or done.truncated:
            said = " ".join((done.stderr or done.stdout[:_SAID]).decode(errors="replace").split())
            raise NoAnswer(said or f"{argv[0]} failed with exit code {done.returncode}")
        return done.stdout.decode(errors="replace")


async def submit(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    umask: int,
    timeout: float,
    stdin: bytes | None = None,
) -> Captured:
    """Run an sbatch once, as the user would in `cwd`. Its end comes within `timeout` seconds, whatever ends us.

    Raises OSError when it can't be started. Not safe to repeat.
    """
    bounded = ["/bin/sh", "-c", _BOUNDED, f"{umask:04o}", f"{timeout:g}", *argv]
    return await capture(bounded, timeout + _SLACK, env, cwd=cwd, stdin=stdin)


def submit_environment(given: Mapping[str, str], *, taskid: str, uuid: str, attempt: int) -> dict[str, str]:
    """Give sbatch's environment, which becomes the job's: the worker's, cleaned, and what the user gave."""
    slurm = sbatch.submit_environment(os.environ, {})
    return build_environment(slurm, given, taskid=taskid, uuid=uuid, attempt=attempt)


def without_stray(given: Mapping[str, str]) -> list[str]:
    """Give the words before a command that keep the worker's own wishes to Slurm from it, but not the user's."""
    kept = sbatch.submit_environment(os.environ, given)
    return [_ENV, *(word for name in sorted(os.environ.keys() - kept.keys()) for word in ("-u", name))]


def _cleaned(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(("QME_", "NATS_"))}
