"""The commands that ask Slurm, and tell it, about jobs: argument lists only. Pure; `parsers` reads what they print.

All are to be run with `sbatch.query_environment`, without a shell, with a time limit. One call serves any number of
jobs, and does not fail because one of them is no longer known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from qme_executor_slurm.parsers import ACCOUNT_COLUMNS, DIVIDER, PATTERN_COLUMNS, QUEUE_COLUMNS

#: sacct finds only jobs that existed since; the cluster's clock may be behind ours
_SLACK = timedelta(hours=1)
#: as many ids as go into one call without making it too long a line or too large a query
MOST_IDS = 1000


def squeue(clusters: str | None = None) -> list[str]:
    """All jobs of this account that the controller knows, ended ones included, arrays by element."""
    columns = ",".join(f"{name}:{DIVIDER}" for name in QUEUE_COLUMNS)
    return ["squeue", *_on(clusters), "--me", "-a", "-r", "-h", "-t", "all", "-O", columns]


def sacct(
    jobs: Iterable[int],
    since: datetime,
    clusters: str | None = None,
    columns: Sequence[str] = ACCOUNT_COLUMNS,
    *,
    uid: int,
) -> list[str]:
    """What accounting knows of some jobs that were submitted after `since`, every restart in a row of its own.

    Only of the account's own ones, as everywhere: an operator of the cluster is shown others' too.
    """
    ids = ",".join(str(job) for job in jobs)
    return [*_accounting(since, clusters, columns, uid), "-j", ids]


def sacct_all(
    since: datetime, clusters: str | None = None, columns: Sequence[str] = ACCOUNT_COLUMNS, *, uid: int
) -> list[str]:
    """What accounting knows of all this account's jobs since then, to look for a marker."""
    return _accounting(since, clusters, columns, uid)


def show(job: str, clusters: str | None = None) -> list[str]:
    """All that the controller knows of a job, or of one part of it; a record for each part."""
    return ["scontrol", *_on(clusters), "-a", "show", "job", job]


def patterns(job: str, clusters: str | None = None) -> list[str]:
    """Where a job's output goes, as it was asked for."""
    columns = ",".join(f"{name}:{DIVIDER}" for name in PATTERN_COLUMNS)
    return ["squeue", *_on(clusters), "-a", "-h", "-t", "all", "-j", job, "-O", columns]


def node(name: str, clusters: str | None = None) -> list[str]:
    """All that the controller knows of a node."""
    return ["scontrol", *_on(clusters), "-a", "show", "node", name]


def cancel(parts: Iterable[str], clusters: str | None = None) -> list[str]:
    """End jobs or elements; succeeds for unknown and ended ones too, so only their states tell what came of it."""
    return ["scancel", *_on(clusters), *parts]


def send(signal: str, job: str, clusters: str | None = None) -> list[str]:
    """Send a signal, by name, to all of a job, its batch script and what that has started included."""
    return ["scancel", *_on(clusters), "--full", f"--signal={signal}", job]


def ping() -> list[str]:
    """Ask whether a controller answers: at once, where all else waits for nine seconds."""
    return ["scontrol", "ping"]


def config() -> list[str]:
    """The cluster's settings, for MinJobAge and its like."""
    return ["scontrol", "show", "config"]


def version() -> list[str]:
    """Which Slurm it is; no daemon is asked."""
    return ["sbatch", "--version"]


def qos() -> list[str]:
    """How many jobs of a user each QOS takes: submitted, and running."""
    return ["sacctmgr", "-nP", "show", "qos", "format=Name,MaxSubmitJobsPU,MaxJobsPU"]


def _accounting(since: datetime, clusters: str | None, columns: Sequence[str], uid: int) -> list[str]:
    start = (since - _SLACK).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    shape = ["-X", "-D", "-n", "--parsable", f"--delimiter={DIVIDER}", "-S", start, "-o", ",".join(columns)]
    return ["sacct", *_on(clusters), *shape, "-u", str(uid)]


def _on(clusters: str | None) -> list[str]:
    return ["-M", clusters] if clusters else []
