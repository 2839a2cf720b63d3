"""A `fake_slurm` on PATH, in the hands of a test: how it is to behave, what it was asked, and its jobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("fake_slurm.py")
#: a Slurm that behaves: its jobs end well after a moment, and everybody is told
WELL_BEHAVED: dict[str, Any] = {
    # what becomes of the first calls of sbatch: "takes it, times out", "takes none, times out"; later ones answer
    "sbatch": [],
    # what it complains of
    "sbatch_fails": "",
    # its answer
    "stdout": "{job}\n",
    "stderr": "",
    # seconds that a job takes, and its exit code
    "runs": 0.5,
    "exit": 0,
    # seconds after a job's end
    "squeue_forgets_after": 300,
    "sacct_lags": 0,
    # as RUNNING
    "sacct_shows_meanwhile": False,
    # what it complains of
    "sacct_fails": "",
    # seconds that the first calls of `scontrol show job` take; 0: that one fails
    "scontrol": [],
}


class Scripted:
    """One such Slurm."""

    def __init__(self, home: Path, **how: Any) -> None:
        """`how`: what differs from `WELL_BEHAVED`."""
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir(parents=True)
        (home / "jobs").mkdir()
        (home / "calls").touch()
        program = self.bin / "slurm"
        program.write_text(f"#!{sys.executable} -IS\n{SOURCE.read_text()}")
        program.chmod(0o755)
        for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel"):
            (self.bin / name).symlink_to(program)
        self.behave(**how)

    def behave(self, **how: Any) -> None:
        """Behave so from now on."""
        assert how.keys() <= WELL_BEHAVED.keys()
        path = self.home / "how.new"
        path.write_text(json.dumps(WELL_BEHAVED | how))
        path.rename(self.home / "how.json")

    def called(self, begin: str) -> int:
        """Count the calls that begin so."""
        return sum(line.startswith(f"{begin} ") for line in (self.home / "calls").read_text().splitlines())

    def jobs(self) -> dict[int, dict[str, Any]]:
        """Give its jobs."""
        found = [json.loads(path.read_text()) for path in (self.home / "jobs").iterdir()]
        return {job["id"]: job for job in found}

    def replace(self, job: int, **fields: Any) -> None:
        """Have other things said of a job's number."""
        path = self.home / "other"
        path.write_text(json.dumps(self.jobs()[job] | fields))
        path.rename(self.home / "jobs" / str(job))
