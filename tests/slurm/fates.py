"""Jobs and how they end: what is submitted, and what must come of it. Data, for real jobs and for `record`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from qme.contracts.tasks import Outcome


@dataclass(frozen=True, slots=True)
class Fate:
    """One sbatch and its end."""

    name: str
    words: tuple[str, ...]
    #: Slurm's own word
    state: str
    outcome: Outcome
    code: int
    #: the script, where it is not in the words
    script: str = ""
    #: what is done to the job: cancelled or requeued as soon as it stands so
    act: Literal["", "cancel waiting", "cancel running", "requeue running"] = ""
    #: parts by outcome, for arrays and heterogeneous jobs
    counts: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    #: what accounting makes of the code: it takes 128 from those of 128 and more
    accounted: int | None = None

    def __str__(self) -> str:
        return self.name


def wrapped(name: str, command: str, state: str, outcome: Outcome, code: int, *words: str) -> Fate:
    """A job of one shell command."""
    return Fate(name, (*words, "--wrap", command), state, outcome, code)


#: a shell's own variable of 300 MB, so that nothing has to be installed
GREEDY = "x=$(head -c 300M /dev/zero | tr '\\0' x)"
FAILED, SUCCESS, CANCELLED = Outcome.FAILED, Outcome.SUCCESS, Outcome.CANCELLED

FATES = [
    wrapped("ok", "true", "COMPLETED", SUCCESS, 0),
    wrapped("exit-3", "exit 3", "FAILED", FAILED, 3),
    Fate("exit-255", ("--wrap", "exit 255"), "FAILED", FAILED, 255, accounted=127),
    Fate("exit-128", ("--wrap", "exit 128"), "FAILED", FAILED, 128, accounted=1),
    wrapped("sigkill", "kill -9 $$", "FAILED", FAILED, 128 + 9),
    Fate("sighup", ("--wrap", "kill -HUP $$"), "FAILED", FAILED, 128 + 1, accounted=1),
    wrapped("sigterm", "kill -TERM $$", "FAILED", FAILED, 128 + 15),
    wrapped("two-lines", "true\nexit 4 # qme:not-this:1 | \x01", "FAILED", FAILED, 4),
    wrapped("no-output-folder", "true", "FAILED", FAILED, 128 + 53, "-o", "no/such/folder/%j.out"),
    wrapped("no-directory", "true", "FAILED", FAILED, 128 + 53, "--chdir=/no/such/folder"),
    Fate("no-interpreter", (), "FAILED", FAILED, 2, script="#!/no/such/interpreter\n"),
    wrapped("not-found", "no-such-command", "FAILED", FAILED, 127),
    wrapped("step-fails", "srun sh -c 'exit 7'", "FAILED", FAILED, 7),
    wrapped("step-fails-script-does-not", "srun sh -c 'exit 7'; true", "COMPLETED", SUCCESS, 0),
    wrapped("too-much-memory", f"{GREEDY}; sleep 9", "FAILED", FAILED, 137, "--mem=20"),
    Fate("comment-in-script", (), "COMPLETED", SUCCESS, 0, script="#!/bin/sh\n#SBATCH --comment='two words'\n"),
    Fate("cancelled-waiting", ("-H", "--wrap", "true"), "CANCELLED", CANCELLED, 1, act="cancel waiting"),
    Fate("cancelled-running", ("--wrap", "sleep 60"), "CANCELLED", CANCELLED, 1, act="cancel running"),
    Fate(
        "cancelled-but-ends-well", ("--wrap", "trap 'exit 0' TERM; sleep 60 & wait"), "CANCELLED", CANCELLED, 1,
        act="cancel running",
    ),
    Fate(
        "requeued", ("--wrap", "[ $SLURM_RESTART_COUNT ] || sleep 60; exit 6"), "FAILED", FAILED, 6,
        act="requeue running", restarts=1,
    ),
    Fate(
        "array", ("-a", "0-3", "--wrap", "exit $SLURM_ARRAY_TASK_ID"), "FAILED", FAILED, 3,
        counts={"total": 4, "success": 1, "failed": 3},
    ),
    Fate("array-ok", ("-a", "1-9:4%2", "--wrap", "true"), "COMPLETED", SUCCESS, 0, counts={"total": 3, "success": 3}),
    Fate(
        "array-cancelled", ("-H", "-a", "0-5", "--wrap", "true"), "CANCELLED", CANCELLED, 1, act="cancel waiting",
        counts={"total": 6, "cancelled": 6},
    ),
    Fate(
        "array-mixed", ("-a", "1-3", "--wrap", "[ $SLURM_ARRAY_TASK_ID = 2 ] || sleep 60"), "CANCELLED", CANCELLED, 1,
        act="cancel running", counts={"total": 3, "success": 1, "cancelled": 2},
    ),
    Fate(
        "het", ("-n1", ":", "-n1", "--wrap", "exit 5"), "FAILED", FAILED, 5, counts={"total": 2, "failed": 2},
    ),
]  # fmt: skip
