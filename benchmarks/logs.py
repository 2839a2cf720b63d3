"""How fast output travels from a command through its worker and the bus to `qme logs`, and who else feels it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time

from benchmarks import raw
from benchmarks.bare import connected
from benchmarks.report import Report, percentile
from benchmarks.site import QME, Site, site
from qme.client.connect import connect
from qme.client.submission import Options

_CHUNK = 128 * 1024


def rows(report: Report, *, megabytes: int, latencies: int) -> None:
    """Live, from the first byte to the last; memory of who takes part; other tasks meanwhile."""
    report.title(f"Output: a command writes {megabytes} MB, `qme run` prints them")
    with site() as place:
        worker = place.worker(slots=4)
        place.qme("run", "true")
        alone = percentile(asyncio.run(_others(place, latencies)), 0.5)
        script = f"head -c {megabytes << 20} /dev/zero | tr '\\0' x"
        begin = time.perf_counter()
        with open(os.devnull, "wb") as out:  # noqa: PTH123
            process = subprocess.Popen([QME, "run", script], env=place.env, cwd=place.folder, stdout=out)
            meanwhile = percentile(asyncio.run(_others(place, latencies)), 0.5)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        seconds = time.perf_counter() - begin
        bus = report.add(
            "nats-py alone, confirmed one by one", asyncio.run(_publish(place, megabytes)), "MB/s"
        )
        report.add("command to `qme run`", megabytes / seconds, "MB/s", beside=bus, goal="100 MB/s")
        report.add("  memory of `qme run`", usage.ru_maxrss / 1024, "MB")
        report.add("  memory of the worker, at most", _peak(worker.pid), "MB")
        plain = report.add("  another task, p50, alone", 1e3 * alone, "ms")
        report.add("  another task, p50, meanwhile", 1e3 * meanwhile, "ms", beside=plain)
    report.add("  a bare subprocess.run, p50", 1e3 * percentile(raw.run_times(latencies), 0.5), "ms")


async def _others(place: Site, rounds: int) -> list[float]:
    times = []
    async with connect(place.settings) as client:
        for _ in range(rounds):
            begin = time.perf_counter()
            submitted = await client.submit(["true"], Options(cwd="/"))
            async for _ in client.ended([submitted.uuid]):
                times.append(time.perf_counter() - begin)
    return times


async def _publish(place: Site, megabytes: int) -> float:
    """Megabytes a second of chunks like the worker's, into the same stream."""
    async with connected(place) as client:
        begin = time.perf_counter()
        for _ in range(megabytes << 20 >> 17):
            await client.request("qme.logs.bench.bench.0.1.stdout", b"x" * _CHUNK, timeout=30)
        return megabytes / (time.perf_counter() - begin)


def _peak(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
