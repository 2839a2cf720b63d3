"""From the user's ``sbatch …`` to the one that is run: the same words, a machine-readable answer, and a marker by which
the job can be found again. Pure: no file is opened and nothing is started here.

The marker is the end of the job's comment, ``qme:<uuid>:<attempt>``: squeue shows it at once, sacct keeps it, and the
job's name, which file names are made of (``%x``), stays the user's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qme.contracts import sbatch_words
from qme_executor_slurm import directives

#: with these, sbatch says something and submits nothing
_NO_JOB = frozenset({"help", "usage", "version", "test-only"})
#: variables of Slurm's that say where the cluster is, not what is wanted of it
_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
_SLURM = re.compile(r"(SLURM|SLURMD|SBATCH|SALLOC|SRUN|SQUEUE|SACCT|SCONTROL|SINFO|SCANCEL|SPRIO|SSHARE)_")
_MARKER = re.compile(r"(?:^|\s)qme:(\S+):(\d+)$")
#: as `build` puts it on the command line
_MARKER_IN_LINE = re.compile(r"[\s=]qme:(\S+):(\d+) --parsable(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Submission:
    """An sbatch command, ready to be run once."""

    argv: tuple[str, ...]
    #: a job comes of it; else it only prints something (``--help``, ``--test-only``)
    submits: bool = True
    #: it stays until the job has ended (``--wait``): its id comes at once, its exit code is the job's
    waits: bool = False
    #: cluster to ask about the job (``--clusters``), where one is named
    clusters: str | None = None
    #: the elements asked for (``--array``)
    array: str | None = None


def marker(uuid: str, attempt: int) -> str:
    """Give what marks the job of an attempt."""
    return f"qme:{uuid}:{attempt}"


def marked(comment: str) -> tuple[str, int] | None:
    """Give the uuid and attempt that a job's comment names; None where qme did not submit it."""
    found = _MARKER.search(comment)
    return (found[1], int(found[2])) if found else None


def marked_line(submit_line: str) -> tuple[str, int] | None:
    """Give the same from a job's command line, which accounting has before it has the comment."""
    found = _MARKER_IN_LINE.search(submit_line)
    return (found[1], int(found[2])) if found else None


def build(
    argv: Sequence[str], mark: str, *, script: str = "", env: Mapping[str, str] | None = None
) -> Submission:
    """Give the command that submits what `argv` asks for, found again by `mark`.

    `script`: its text where it could be read, for its directives; `env`: variables that the user gave the command.
    Of the user's words only the value of a ``--comment`` changes: ours is added behind it, as it is behind one that is
    set in the script or by the environment.
    """
    line = sbatch_words.read(argv[1:])
    inside = sbatch_words.read(directives.words(script)) if "wrap" not in line.names else sbatch_words.Words()
    given = env or {}

    def setting(name: str, variable: str) -> str | None:
        """Look where sbatch looks: command line, environment, script."""
        value = line.value(name)
        return given.get(variable, inside.value(name)) if value is None else value

    words = [*argv[1:]]
    own = line.last("comment", component=0)
    if own is not None and own.value is not None:
        comment = _joined(own.value, mark)
        words[own.last] = words[own.last][: own.offset] + comment  # the last one counts
    else:
        directive = inside.last("comment", component=0)
        comment = _joined(given.get("SBATCH_COMMENT", directive.value if directive else None), mark)
    return Submission(
        argv=(argv[0], f"--comment={comment}", "--parsable", *words),
        submits=not line.names & _NO_JOB,
        waits="wait" in line.names | inside.names or "SBATCH_WAIT" in given,
        clusters=setting("clusters", "SBATCH_CLUSTERS"),
        array=setting("array", "SBATCH_ARRAY_INX"),
    )


def submit_environment(worker: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for sbatch: the worker's without what Slurm's programs take for wishes, then the user's."""
    kept = {name: value for name, value in worker.items() if name in _KEPT or not _SLURM.match(name)}
    return kept | dict(given)


def query_environment(worker: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for commands whose output is parsed: times in UTC, lists unshortened, text untranslated."""
    fixed = {"TZ": "UTC", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C"}
    return submit_environment(worker, fixed)


def _joined(theirs: str | None, mark: str) -> str:
    return f"{theirs} {mark}" if theirs else mark
