"""How cost grows with the number of tasks: throughput, latency and memory for 100, 1,000, … tasks on one bus."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from benchmarks import plot, shell
from benchmarks.report import Report, percentile
from benchmarks.site import Site, site

PLOT = Path(__file__).parents[1] / "docs/img/growth.svg"


def rows(report: Report, *, sizes: tuple[int, ...], latencies: int, draw: bool) -> None:
    """One site that fills up; nothing may grow faster than the number of tasks."""
    report.title("Growth: so many tasks more on the same bus, and what holds then")
    lines: dict[str, list[tuple[float, float]]] = {
        "tasks a second": [],
        "latency p50, ms": [],
        "memory of all services, MB": [],
    }
    with site() as place:
        place.worker(slots=shell.TOGETHER)
        asyncio.run(shell.submit(place, shell.TOGETHER))
        for size in sizes:
            found = asyncio.run(shell.throughput(place, size))
            waits = asyncio.run(shell.latency(place, latencies))
            values = found["rate"], 1e3 * percentile(waits, 0.5), _memory(place)
            for name, value in zip(lines, values, strict=True):
                report.add(f"{size} tasks: {name}", value, "")
                lines[name].append((size, value))
    if draw:
        PLOT.write_text(plot.svg(lines, "tasks"))
        report.note(f"drawn into {PLOT.relative_to(Path.cwd())}")


def _memory(place: Site) -> float:
    pids = [one.pid for one in (*place.workers, *place.submitters)] + place.keepers
    pids += [server.pid for server in place.servers]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
