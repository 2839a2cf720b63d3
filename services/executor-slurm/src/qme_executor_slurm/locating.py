"""Finds out where a job's output goes: asks scontrol, and squeue where that is not enough. What patterns mean is
`paths`'s; nothing is read here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from qme_executor_slurm import paths
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.journal import Journal, Submitted
from qme_executor_slurm.parsers import Details


async def locate(slurm: Slurm, journal: Journal) -> Submitted:
    """Learn a job's output files and note them; as they are known so far where Slurm does not tell. Safe to repeat."""
    known = journal.submitted
    assert known  # noqa: S101 -- asked only about a job
    if known.stdout is not None and paths.HOST not in known.stdout + (known.stderr or ""):
        return known
    with suppress(NoAnswer):
        if details := await slurm.details(str(known.job), known.clusters):
            is_array = details[0].id.elements is not None
            stdout, stderr = await files(slurm, details[0], known.clusters, whole=is_array)
            located = replace(known, stdout=stdout, stderr=stderr, directory=details[0].directory)
            if located != known:
                journal.accept(located)
            return located
    return known


async def files(
    slurm: Slurm, details: Details, clusters: str | None, *, whole: bool = False
) -> tuple[str | None, str | None]:
    """Give the paths of stdout and stderr of one record of scontrol's; `whole`: of its array, with ``%a``.

    Raises NoAnswer.
    """
    told = (details.stdout, details.stderr)
    found = [path and paths.plain(path, details, whole=whole) for path in told]
    if any(path and not plain for path, plain in zip(told, found, strict=True)) and (
        patterns := await slurm.patterns(str(details.id.job), clusters)
    ):
        host = None
        node = details.fields.get("BatchHost")
        if node and not whole and any(paths.HOST in pattern for pattern in patterns):
            host = await slurm.host(node, clusters)
        meant = paths.values(details, host, whole=whole)
        found = [
            plain or paths.expand(pattern, meant) for plain, pattern in zip(found, patterns, strict=True)
        ]
    return found[0], found[1]
