"""What a site costs that has nothing to do: memory, processor, writes to the bus."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from benchmarks.report import Report
from benchmarks.site import Site, site
from qme.client.connect import connect
from qme.contracts import subjects


def rows(report: Report, *, seconds: float) -> None:
    """Each service, watched for so long with the shipped settings."""
    report.title(f"Idle, watched for {seconds:g} s")
    with site() as place:
        worker = place.worker(slots=4)
        place.qme("run", "true")
        time.sleep(min(seconds, 5.0))
        services = {
            "worker": worker.pid,
            "its keeper": place.keepers[0],
            "submitter": place.submitters[0].pid,
            "NATS server": place.servers[0].pid,
        }
        before = {name: place.seconds(pid) for name, pid in services.items()}
        written, forks = asyncio.run(_writes(place)), _children(worker.pid)
        time.sleep(seconds)
        for name, pid in services.items():
            share = 100 * (place.seconds(pid) - before[name]) / seconds
            goal = name == "worker"
            report.add(f"{name}, memory", _resident(pid), "MB", goal="60 MB" if goal else "")
            report.add(f"{name}, of a core", share, "%", goal="0.5 %" if goal else "")
        report.add("writes to the bus", (asyncio.run(_writes(place)) - written) / seconds, "/s")
        report.add("processes that the worker has begun", len(_children(worker.pid) - forks), "", goal="0")


async def _writes(place: Site) -> int:
    buckets = (subjects.BUCKET_EXECUTORS, subjects.BUCKET_TASKS, "qme_control")
    async with connect(place.settings) as client:
        states = [await client.bus.state(subjects.bucket_stream(bucket)) for bucket in buckets]
    return sum(state.last for state in states)


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _children(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
