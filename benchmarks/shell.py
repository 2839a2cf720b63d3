"""Shell tasks through the whole durable path, beside bare processes and beside other systems."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from benchmarks import peers, raw
from benchmarks.report import Figure, Report, percentile
from benchmarks.site import Site, site
from qme.client.connect import connect
from qme.client.control import checked
from qme.client.submission import Options, prepare
from qme.contracts import subjects
from qme.contracts.tasks import Outcome, TaskRecord

#: commands at a time, everywhere
TOGETHER = 4
#: what a task is written to
STREAMS = {
    "specs": subjects.bucket_stream(subjects.BUCKET_SPECS),
    "records": subjects.bucket_stream(subjects.BUCKET_TASKS),
    "queue": subjects.TASKS,
    "audit trail": subjects.EVENTS,
    "output": subjects.LOGS,
}


def rows(report: Report, *, tasks: int, latencies: int, others: tuple[str, ...]) -> None:
    """Throughput, latency, writes, processor time."""
    report.title(
        f"Shell tasks: {tasks} x true, {TOGETHER} at a time, one worker, first created to last finished"
    )
    bare = report.add("posix_spawn", raw.spawn_rate(tasks, TOGETHER), "/s")
    report.add("asyncio.create_subprocess_exec", raw.asyncio_rate(tasks, TOGETHER), "/s", beside=bare)
    with site() as place:
        place.worker(slots=TOGETHER)
        asyncio.run(submit(place, TOGETHER))  # warms everything up
        before = _processor_seconds(place)
        found = asyncio.run(throughput(place, tasks))
        used = _processor_seconds(place)
        ours = report.add(
            "qme", found["rate"], "/s", beside=bare, goal="0.5 x posix_spawn, 1.2 x the best peer"
        )
        for name in used:
            report.add(
                f"  processor time of the {name}", 1e6 * (used[name] - before[name]) / tasks, "us/task"
            )
        for what in STREAMS:
            report.add(f"  writes to the bus: {what}", found[what] / tasks, "/task")
        report.title(f"Latency: {latencies} tasks one after the other, submit to final record, a warm client")
        plain = report.add("subprocess.run, p50", 1e3 * percentile(raw.run_times(latencies), 0.5), "ms")
        waits = asyncio.run(latency(place, latencies))
        middle = report.add(
            "qme, p50", 1e3 * percentile(waits, 0.5), "ms", beside=plain, goal="8 x subprocess.run"
        )
        report.add("qme, p99", 1e3 * percentile(waits, 0.99), "ms", beside=middle, goal="3 x p50")
    _peers(report, ours, middle, others, tasks, latencies)


def _peers(
    report: Report, ours: Figure, middle: Figure, others: tuple[str, ...], tasks: int, latencies: int
) -> None:
    if others:
        report.title(f"Other systems, the same command, {TOGETHER} at a time; the ratio is qme's")
    for name in others:
        try:
            found = peers.measure(name, tasks, latencies, TOGETHER)
        except peers.NotHere as error:
            report.note(f"{name}: left out, {error}")
            continue
        rate = report.add(found["system"], found["rate"], "/s")
        p50 = report.add(f"{found['system']}, p50", 1e3 * percentile(found["latencies"], 0.5), "ms")
        report.note(
            f"qme does {ours.value / rate.value:.2f} x its rate, and takes {middle.value / p50.value:.2f} x its p50"
        )


def _processor_seconds(place: Site) -> dict[str, float]:
    pids = {
        "worker": [one.pid for one in place.workers],
        "keeper": place.keepers,
        "submitter": [one.pid for one in place.submitters],
        "NATS server": [server.pid for server in place.servers],
    }
    return {name: sum(place.seconds(pid) for pid in found) for name, found in pids.items()}


async def submit(place: Site, tasks: int) -> list[str]:
    """Submit so many and wait for their ends; their uuids."""
    async with connect(place.settings) as client:
        wishes = Options(cwd="/")
        wanted = [client.own(prepare(["true"], wishes, host="bench")) for _ in range(tasks)]
        uuids = [checked(result).uuid async for result in client.submit_many(wanted)]
        async for done in client.ended(uuids):
            _check(done.record)
        return uuids


async def throughput(place: Site, tasks: int) -> Mapping[str, float]:
    """Run so many; tasks a second, and writes by stream."""
    async with connect(place.settings) as client:
        before = {name: (await client.bus.state(stream)).last for name, stream in STREAMS.items()}
        uuids = set(await submit(place, tasks))
        records = [
            record
            async for record in client.stream()
            if isinstance(record, TaskRecord) and record.uuid in uuids
        ]
        ends = [record.finished for record in records if record.finished is not None]
        assert len(ends) == tasks
        seconds = (max(ends) - min(record.created for record in records)).total_seconds()
        writes = {
            name: (await client.bus.state(stream)).last - before[name] for name, stream in STREAMS.items()
        }
        return {"rate": tasks / seconds, **writes}


async def latency(place: Site, rounds: int) -> list[float]:
    """Seconds from a submission to its final record, one after the other."""
    times = []
    async with connect(place.settings) as client:
        for _ in range(rounds):
            begin = time.perf_counter()
            submitted = await client.submit(["true"], Options(cwd="/"))
            async for done in client.ended([submitted.uuid]):
                _check(done.record)
            times.append(time.perf_counter() - begin)
    return times


def _check(record: TaskRecord | None) -> None:
    if record is None or record.outcome is not Outcome.SUCCESS:
        raise SystemExit(f"a task of the benchmark did not succeed: {record}")
