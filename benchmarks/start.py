"""What a whole `qme submit true` takes, beside a Python that only loads what it is built on."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import peers
from benchmarks.report import Report
from benchmarks.site import QME, site

#: what the goal is counted from
_LOADS = "import nats, pydantic"


def rows(report: Report, *, rounds: int, original: bool) -> None:
    """Medians of processes that take turns, so that they share what else the machine does."""
    report.title(f"Whole processes, {rounds} rounds in turns, median")
    with site() as place:
        place.worker(slots=2)
        commands: dict[str, Sequence[str]] = {
            f'python -c "{_LOADS}"': (sys.executable, "-c", _LOADS),
            "qme submit true": (QME, "submit", "true"),
            "qme submit --label a=b true": (QME, "submit", "--label", "a=b", "true"),
            "qme run true": (QME, "run", "true"),
            "qme ls": (QME, "ls"),
        }
        if original:
            try:
                python = peers.environment("original")
                commands["the original's qme run true"] = (str(python.with_name("qme")), "run", "true")
            except peers.NotHere as error:
                report.note(f"the original: left out, {error}")
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, argv in commands.items():
                begin = time.perf_counter()
                subprocess.run(argv, env=place.env, cwd=place.folder, check=False, capture_output=True)
                times[name].append(1e3 * (time.perf_counter() - begin))
        first, *others = commands
        plain = report.add(first, statistics.median(times[first][1:]), "ms")
        for name in others:
            goal = "1.3 x" if name == "qme submit true" else ""
            report.add(name, statistics.median(times[name][1:]), "ms", beside=plain, goal=goal)
