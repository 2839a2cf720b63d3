"""What qme adds to sbatch, and what its worker costs a login node. Prints a table; judges nothing.

    python benchmarks/slurm.py [JOBS]

A small real Slurm (deploy/slurm-lab) and a local stack are started for it, and ended. All jobs are held, so that none
of them competes for the processors. Slurm's programs are run through scripts that take note of each call.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LAB = Path(__file__).parents[1] / "deploy/slurm-lab"
QME = str(Path(sys.executable).with_name("qme"))
PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
JOB = ("-H", "--wrap", "true")
ROUNDS = 20
MANY = 200
PENDING = 1000
#: seconds that a worker is watched for
WATCHED = 60


class Place:
    """A cluster and a stack of this run's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        real = os.environ["PATH"]
        for program in PROGRAMS:
            path = folder / "bin" / program
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\necho {program} >>{self.calls}\nPATH={real} exec {program} "$@"\n')
            path.chmod(0o755)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "SLURM_"))}
        self.env = {
            **clean,
            "PATH": real,
            "SLURM_CONF": str(folder / "slurm/slurm.conf"),
            "QME_HOME": str(folder / "home"),
        }

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a command that must succeed; what it prints."""
        done = subprocess.run(
            argv, env=self.env, cwd=self.folder, input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}: {done.stderr}")
        return done.stdout

    def waiting(self) -> int:
        """Give the number of jobs in Slurm's queue."""
        return len(self.run("squeue", "-h", "-o", "%i").split())

    def worker(self) -> int:
        """Give the Slurm worker's process."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
                environ = (path.parent / "environ").read_bytes()
            except OSError:
                continue
            if words[-3:-1] == [b"worker", b"slurm"] and f"QME_HOME={self.folder}/home".encode() in environ:
                return int(path.parent.name)
        raise SystemExit("there is no Slurm worker")


@contextmanager
def place() -> Iterator[Place]:
    """Have a cluster and a stack."""
    with tempfile.TemporaryDirectory() as name:
        here = Place(Path(name))
        here.run(str(LAB / "up"), f"{name}/slurm")
        try:
            counted = {**here.env, "PATH": f"{name}/bin:{here.env['PATH']}"}
            subprocess.run([QME, "up", "--detach"], env=counted, cwd=name, capture_output=True, check=True)
            yield here
        finally:
            subprocess.run(
                [QME, "down", "--cancel"], env=here.env, cwd=name, capture_output=True, check=False
            )
            subprocess.run([LAB / "down", f"{name}/slurm"], env=here.env, capture_output=True, check=False)


def seconds(work: Callable[[], object]) -> float:
    """Give how long something takes."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def row(what: str, *values: str) -> None:
    """Print a line of the table."""
    print(f"  {what:52} " + " ".join(f"{value:>12}" for value in values), flush=True)


def one_by_one(here: Place) -> None:
    """Compare one submission with one sbatch, in turns."""
    pairs = [
        (
            seconds(lambda: here.run("sbatch", "--parsable", *JOB)),
            seconds(lambda: here.run(QME, "submit", "sbatch", *JOB)),
        )
        for _ in range(ROUNDS)
    ]
    plain, ours = ([pair[at] for pair in pairs] for at in (0, 1))
    print(f"one job, {ROUNDS} rounds in turns, milliseconds: median (fastest, slowest)")
    for name, times in (("sbatch", plain), ("qme submit sbatch, until the id is printed", ours)):
        row(
            name,
            f"{1000 * statistics.median(times):.0f}",
            f"({1000 * min(times):.0f}, {1000 * max(times):.0f})",
        )
    row("ratio of the medians", f"{statistics.median(ours) / statistics.median(plain):.1f}")


def many(here: Place, jobs: int) -> None:
    """Compare a list with a loop."""
    clear(here)

    def loop() -> None:
        for _ in range(jobs):
            here.run("sbatch", "--parsable", *JOB)

    plain = seconds(loop)
    clear(here)
    begin = time.monotonic()
    printed = seconds(lambda: submit(here, jobs))
    arrive(here, jobs)
    whole = time.monotonic() - begin
    print(f"{jobs} jobs, seconds (jobs a second)")
    for name, taken in (
        ("a loop of sbatch", plain),
        ("qme submit --file, until all ids are printed", printed),
        ("the same, until all jobs are in Slurm", whole),
    ):
        row(name, f"{taken:.1f}", f"({jobs / taken:.0f}/s)")
    row("ratio, until all jobs are in Slurm", f"{whole / plain:.2f}")


def submit(here: Place, jobs: int) -> None:
    """Hand many jobs over."""
    here.run(QME, "submit", "--file", "-", stdin="sbatch -H --wrap true\n" * jobs)


def arrive(here: Place, jobs: int) -> None:
    """Wait until so many jobs are in Slurm."""
    while here.waiting() < jobs:
        time.sleep(0.2)


def clear(here: Place) -> None:
    """Have no jobs, and a worker that knows it."""
    here.run("scancel", "--me")
    while here.waiting():
        time.sleep(0.2)
    waiting = [QME, "ls", "--status", "queued", "--status", "running", "--limit", "1", "--json"]
    while here.run(*waiting).strip() != "[]":
        time.sleep(1)


def costs(here: Place, pending: Sequence[int]) -> None:
    """Watch the worker while so many jobs wait, with the default pauses between two looks."""
    print(f"the Slurm worker while jobs wait, watched for {WATCHED} s")
    row("pending jobs", "RSS MiB", "CPU s/hour", "looks", "commands")
    for jobs in pending:
        clear(here)
        if jobs:
            submit(here, jobs)
            arrive(here, jobs)
        time.sleep(15)  # the first looks, and the writing of what they brought
        worker = here.worker()
        before, counted = cpu(worker), calls(here)
        time.sleep(WATCHED)
        made = calls(here) - counted
        rss = int(Path(f"/proc/{worker}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024
        spent = (cpu(worker) - before) * 3600 / WATCHED
        row(f"{jobs}", f"{rss:.0f}", f"{spent:.1f}", f"{made['squeue']}", f"{made.total()}")


def load(when: str) -> None:
    """Say how busy the machine is, which a fresh Python feels more than sbatch does."""
    print(f"{when}: {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", flush=True)


def cpu(process: int) -> float:
    """Give the seconds that a process has spent, those of its ended children included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def calls(here: Place) -> Counter[str]:
    """Give how often the worker has called which program."""
    return Counter(here.calls.read_text().split()) if here.calls.exists() else Counter()


def main() -> int:
    """Run all of it."""
    pending = int(sys.argv[1]) if len(sys.argv) > 1 else PENDING
    with place() as here:
        load("before")
        one_by_one(here)
        many(here, MANY)
        costs(here, (0, 1, pending))
        load("after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
