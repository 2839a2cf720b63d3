"""Options of sbatch that a worker refuses, wherever they stand and however they are spelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qme.contracts import sbatch_words
from qme_executor_slurm.rules import refusal
from qme_executor_slurm.settings import SlurmSettings

PROGRAMS: dict[str, Any] = {"allow": (("/usr/bin/sbatch",),)}
FEW: dict[str, Any] = {"options": ("time", "partition", "array")}
HOMES: dict[str, Any] = {"directories": (Path("/home"),)}


def _resolved(folder: str) -> Path:
    return Path("/home/ann") / folder


@pytest.mark.parametrize(
    ("settings", "words", "script", "env", "says"),
    [
        ({}, "--uid=0 --wrap id", "", {}, None),
        (PROGRAMS, "-p gpu job.sh", "#SBATCH --time=5", {"SBATCH_TIMELIMIT": "5"}, None),
        (PROGRAMS, "--uid 0 job.sh", "", {}, "options_deny: sbatch --uid"),
        (PROGRAMS, "--wra=id", "", {}, "options_deny: sbatch --wrap"),
        (PROGRAMS, "job.sh", "#SBATCH --expor=ALL,LD_PRELOAD=x", {}, "options: sbatch --expor is no option"),
        (PROGRAMS, "job.sh", "#SBATCH --export=NONE", {}, "options_deny: sbatch --export"),
        (PROGRAMS, "job.sh", "", {"SBATCH_EXPORT": "ALL"}, "options_deny: sbatch --export"),
        (
            PROGRAMS,
            "--new-in-2030 job.sh",
            "",
            {},
            "options: sbatch --new-in-2030 is no option that is known",
        ),
        (PROGRAMS, "-p a job.sh --uid=0", "", {}, None),  # behind the script it is the script's
        ({**PROGRAMS, "options_deny": ("uid",)}, "--wrap id", "", {}, None),
        (FEW, "-t5 -a1-3 job.sh", "", {}, None),
        (FEW, "-t5 -A other job.sh", "", {}, "options: sbatch --account is not among time, partition, array"),
        (FEW, "job.sh", "", {"SBATCH_ACCOUNT": "o"}, "options: sbatch --account is not among"),
        (FEW, "-t5 : -A other job.sh", "", {}, "options: sbatch --account is not among"),
        (HOMES, "-D sub job.sh", "", {}, None),
        (HOMES, "--chdir=/etc job.sh", "", {}, "directories: --chdir /etc is not below /home"),
        (HOMES, "job.sh", "#SBATCH -D /etc", {}, "directories: --chdir /etc is not below /home"),
    ],
)
def test_options(
    settings: dict[str, Any], words: str, script: str, env: dict[str, str], says: str | None
) -> None:
    """On the command line, shortened or bundled, in the script, in a variable; what is not known is refused too."""
    read = sbatch_words.read(words.split())
    told = refusal(SlurmSettings(**settings), read, f"#!/bin/sh\n{script}\n", env, _resolved)
    assert (told or "").startswith(f"refused by this worker's rule {says}" if says else "")
    assert (told is None) == (says is None)
