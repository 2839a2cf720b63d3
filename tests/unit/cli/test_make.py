"""Lines for `make` that would do something else than they say are refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run cmd=ls", "say make run CMD='…'"),
        ("run echo hello", "say make run CMD='…'"),
        ("tests", "say make test"),
    ],
)
def test_a_slip_is_refused(line: str, said: str) -> None:
    """With the line that was meant, and nothing is run."""
    # A make that runs these tests hands its own flags down.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *line.split()], cwd=ROOT, env=env, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert said in done.stderr.decode()
