"""The lab's Slurm (`deploy/slurm-lab`) in the hands of a test: client commands on it, and harm to its daemons."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from qme_executor_slurm import answers, parsers, queries, sbatch
from qme_executor_slurm.parsers import AccountRow, Details, QueueRow

LAB = Path(__file__).parents[2] / "deploy/slurm-lab"
#: `up` ends with it when Slurm is not installed
MISSING = 2


class SlurmMissing(Exception):
    """Slurm is not installed here."""


class Cluster:
    """A Slurm of two nodes, all of its state in `directory`; jobs work in `work`."""

    def __init__(self, directory: Path, work: Path, **variables: str) -> None:
        """Name it; `variables` are those of `up` (SLURM_LAB_EXTRA, SLURM_LAB_MEMORY)."""
        self.directory = directory
        self.work = work
        self.variables = variables
        self.conf = directory / "slurm.conf"
        self.since = datetime.now(UTC)

    @property
    def env(self) -> dict[str, str]:
        """This process's environment, aimed at the cluster."""
        return sbatch.submit_environment(os.environ, {"SLURM_CONF": str(self.conf)})

    def up(self) -> None:
        """Start what does not run. Raises SlurmMissing, or CalledProcessError with what the daemons said."""
        done = self._lab("up", str(self.directory))
        if done.returncode == MISSING:
            raise SlurmMissing(done.stderr.strip())
        assert done.returncode == 0, done.stderr

    def down(self) -> None:
        """End all jobs and daemons."""
        self._lab("down", str(self.directory))

    def signal(self, daemon: str, name: str) -> None:
        """Send a signal (``STOP``, ``KILL``) to slurmctld, slurmdbd, slurmd.n1, slurmd.n2, mariadbd or munged."""
        done = self._lab("signal", str(self.directory), daemon, name)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def hung(self, daemon: str) -> Iterator[None]:
        """Have a daemon accept connections and answer nothing."""
        self.signal(daemon, "STOP")
        try:
            yield
        finally:
            self.signal(daemon, "CONT")

    @contextmanager
    def without(self, daemon: str, name: str = "TERM") -> Iterator[None]:
        """Have a daemon ended (``KILL``: without a chance to save anything), and started again afterwards."""
        self.signal(daemon, name)
        wait_until(lambda: self._lab("signal", str(self.directory), daemon, "0").returncode != 0)
        try:
            yield
        finally:
            self.up()

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client command to its end, as the executor runs its queries unless `env` is given."""
        return subprocess.run(
            argv,
            env=sbatch.query_environment(self.env) if env is None else env,
            cwd=cwd or self.work,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ok(self, argv: Sequence[str]) -> str:
        """Give what a command prints that must succeed."""
        done = self.run(argv)
        assert done.returncode == 0, f"{argv}: {done.returncode} {done.stderr}"
        return done.stdout

    def sbatch(self, *words: str, mark: str, env: Mapping[str, str] | None = None, stdin: str = "") -> int:
        """Submit a job as the executor would; its id."""
        built = sbatch.build(["sbatch", *words], mark, script=stdin, env=env)
        answer = self.submit(*built.argv[1:], env=env, stdin=stdin)
        assert isinstance(answer, answers.Accepted), answer
        return answer.job

    def queue(self) -> list[QueueRow]:
        """All that squeue shows."""
        return parsers.queue(self.ok(queries.squeue()))

    def details(self, job: str) -> list[Details] | None:
        """All that scontrol knows of a job or a part of one; None when it knows it no longer."""
        done = self.run(queries.show(job))
        assert done.returncode == 0 or parsers.forgotten(done.stderr), done
        return parsers.details(done.stdout) if done.returncode == 0 else None

    def accounts(self, jobs: Sequence[int]) -> list[AccountRow] | None:
        """All that accounting has of some jobs; None when it does not answer."""
        done = self.run(queries.sacct(jobs, self.since, uid=os.getuid()))
        return parsers.accounting(done.stdout) if done.returncode == 0 else None

    def submit(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "", timeout: float = 60
    ) -> answers.Accepted | answers.Failed:
        """Run sbatch with these words as they are, and read its answer."""
        given = sbatch.submit_environment(self.env, env or {})
        try:
            done = self.run(["sbatch", *words], env=given, stdin=stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            return answers.read("", "", None)
        return answers.read(done.stdout, done.stderr, done.returncode)

    def cancel_all(self) -> None:
        """End every job of this account."""
        self.run(["scancel", "--me"])

    def _lab(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LAB / script, *words],
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def wait_until(condition: Callable[[], object], timeout: float = 30) -> None:
    """Wait until something holds; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"did not come true within {timeout} s"
        time.sleep(0.1)
