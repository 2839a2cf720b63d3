"""Many workers on three NATS nodes, and what a thousand signs of life cost. All on one machine, which soon is full."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from benchmarks import shell
from benchmarks.bare import connected
from benchmarks.report import Report
from benchmarks.site import Site, site
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat

#: heartbeats of one worker, seconds apart
INTERVAL = 10.0


def rows(report: Report, *, tasks: int, workers: int, beats: int, seconds: float) -> None:
    """Throughput with 1 and with all workers; the bus under heartbeats alone."""
    report.title(f"Three NATS nodes, two submitters, {tasks} x true, one command at a time in each worker")
    with site(nodes=3, submitters=2) as place:
        before = None
        for count in (1, workers):
            while len(place.workers) < count:
                place.worker(slots=1)
            asyncio.run(shell.submit(place, count))
            found = asyncio.run(shell.throughput(place, tasks))
            figure = report.add(f"{count} workers", found["rate"], "/s", beside=before)
            before = before or figure
        messages = sum(found[name] for name in shell.STREAMS) / tasks * found["rate"]
    report.title(f"Signs of life of {beats} workers, one each {INTERVAL:g} s, one NATS server")
    with site() as place:
        begin = place.seconds(place.servers[0].pid), place.seconds(place.submitters[0].pid)
        sent = asyncio.run(_beat(place, beats, seconds))
        used = (
            place.seconds(place.servers[0].pid) - begin[0],
            place.seconds(place.submitters[0].pid) - begin[1],
        )
        report.add("writes", sent / seconds, "/s")
        report.add(
            "beside the task writes above",
            100 * sent / seconds / (messages + sent / seconds),
            "%",
            goal="5 %",
        )
        report.add("the NATS server, of a core", 100 * used[0] / seconds, "%")
        report.add("a submitter, of a core", 100 * used[1] / seconds, "%")


async def _beat(place: Site, workers: int, seconds: float) -> int:
    """Write heartbeats as so many workers would; how many."""
    now, sent = datetime.now(UTC), 0
    async with connected(place) as client:
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            while sent < passed * workers / INTERVAL:
                name = f"host{sent % workers}-abcdef"
                beat = Heartbeat(
                    executor="shell",
                    pool="default",
                    worker=name,
                    host=name,
                    pid=1,
                    version="1",
                    slots=4,
                    active=0,
                    started=now,
                    at=datetime.now(UTC),
                    interval=INTERVAL,
                )
                key = subjects.heartbeat_key("shell", "default", name)
                await client.publish(
                    f"$KV.qme_executors.{key}", beat.model_dump_json().encode(), headers={"Nats-TTL": "30s"}
                )
                sent += 1
            await asyncio.sleep(0.05)
    return sent
