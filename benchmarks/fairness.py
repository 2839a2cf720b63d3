"""A user with one task beside a user with very many: its wait with the window of released tasks, and without.

    python -m benchmarks.fairness [TASKS]

Without means what there was before: everything is released as it is accepted, first in, first out. Both in one run,
on the same machine. Beside the waits: what the window costs in throughput, and what a waiting task costs in memory.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import uuid_utils

from benchmarks.report import Figure, Report
from benchmarks.site import QME, Site, site, wait_for
from qme.bus.jetstream import JetStreamBus
from qme.client import AsyncClient, Options
from qme.client.submission import prepare
from qme.contracts.tasks import Outcome, TaskRecord
from qme.testing.nats import PASSWORD, USER
from qme_submitter.waiting import Index

TASKS = 20_000
SLOTS = 4
#: tasks of the other user, one after the other, each submitted when the one before has ended
SINGLES = 5
WAITING = 100_000
POOL = "shared"
#: a submitter as there was before the window: everything has room
UNBOUNDED = (
    "import qme_submitter.ahead as a, qme_submitter.__main__ as m; a.LEAST = a.NOBODY = 10**9; m.main()"
)
_RESERVED = Options(cwd="/", executor="shell", pool=POOL)


async def submitted(client: AsyncClient, count: int, words: list[str]) -> list[str]:
    """Submit tasks of a user; their uuids."""
    tasks = [client.own(prepare(words, _RESERVED, host="bench")) for _ in range(count)]
    async for result in client.submit_many(tasks):
        if result.error is not None:
            raise SystemExit(f"a task was refused: {result.error}")
    return [task.uuid for task in tasks]


async def ended(client: AsyncClient, uuids: list[str]) -> list[TaskRecord]:
    """Wait for tasks."""
    found = []
    async for done in client.ended(uuids):
        if done.record is None or done.record.outcome is not Outcome.SUCCESS:
            raise SystemExit(f"a task of the benchmark did not succeed: {done.record}")
        found.append(done.record)
    return found


def wait(record: TaskRecord) -> float:
    """Seconds from the submission to the start."""
    assert record.started is not None
    return (record.started - record.created).total_seconds()


@asynccontextmanager
async def client_of(place: Site, user: str) -> AsyncIterator[AsyncClient]:
    """Connect as a user, whom the benchmark's server believes."""
    login = {"user": USER, "password": PASSWORD}
    servers = [server.url for server in place.servers]
    bus = await JetStreamBus.open(
        servers, login, user=user, name=user, connect_timeout=5.0, publish_retry=15.0
    )
    try:
        # A machine that is busy with twenty thousand tasks may take its time to answer.
        yield AsyncClient(bus, replace(place.settings, request_timeout=300.0))
    finally:
        await bus.close()


async def beside(place: Site, tasks: int, words: list[str], singles: int) -> dict[str, float]:
    """Let ann submit many, and bob one, and one again; what bob waited and ann took."""
    async with client_of(place, "ann") as many, client_of(place, "bob") as few:
        begin, cpu = time.monotonic(), place.seconds(place.submitters[0].pid)
        anns = await submitted(many, tasks, words)
        took = time.monotonic() - begin
        rest = asyncio.create_task(ended(many, anns))
        waits: list[float] = []
        for _ in range(singles):
            (record,) = await ended(few, await submitted(few, 1, ["true"]))
            if waits and rest.done():  # there was nobody beside it
                break
            waits.append(wait(record))
        records = await rest
    first = min(record.created for record in records)
    last = max(record.finished for record in records if record.finished)
    whole = (last - first).total_seconds()
    cpu = (place.seconds(place.submitters[0].pid) - cpu) / tasks
    return {
        "wait": statistics.median(waits),
        "worst": max(waits),
        "whole": whole,
        "submitted": took,
        "cpu": cpu,
    }


def measured(tasks: int, words: list[str], singles: int, *, window: bool) -> dict[str, float]:
    """Measure on a site of its own."""
    with site(submitters=1 if window else 0) as place:
        if not window:
            place.submitters.append(place.start("submitter", (sys.executable, "-P", "-c", UNBOUNDED), {}))
        argv = (QME, "worker", "shell", "--pool", POOL, "--user", "*")
        place.workers.append(place.start("worker", argv, {"QME_SHELL_SLOTS": str(SLOTS)}))
        wait_for(lambda: POOL in place.qme("executors"))
        place.qme("executors", "approve", "shell", "--pool", POOL)
        asyncio.run(beside(place, SLOTS, ["true"], 1))  # warms everything up
        return asyncio.run(beside(place, tasks, words, singles))


def in_turns(tasks: int, words: list[str]) -> dict[bool, dict[str, float]]:
    """Measure both ways, several times in turns where that is quick: others use the machine too. The medians."""
    rounds = [
        {window: measured(tasks, words, SINGLES, window=window) for window in (False, True)}
        for _ in range(max(1, min(3, 3000 // tasks)))
    ]
    return {
        window: {name: statistics.median(one[window][name] for one in rounds) for name in rounds[0][window]}
        for window in (False, True)
    }


def memory(report: Report) -> None:
    """What the index of waiting tasks takes, and how long it takes to be built from what is read."""
    record = TaskRecord(
        uid=f"shell-{uuid_utils.uuid7()}",
        executor="shell",
        pool=POOL,
        command="true",
        user="ann",
        created=datetime.now(UTC),
    )
    texts = [
        record.model_copy(update={"uid": f"shell-{uuid_utils.uuid7()}"}).model_dump_json().encode()
        for _ in range(WAITING)
    ]
    gc.collect()
    begin = time.monotonic()
    index = _index(texts)
    seconds = time.monotonic() - begin
    del index
    tracemalloc.start()
    index = _index(texts)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    report.title(f"{WAITING} tasks that wait, in the memory of whoever leads")
    report.add("bytes for each", size / WAITING, "B")
    report.add("reading their records into the index", seconds, "s")
    assert len(index.ready) == WAITING


def _index(texts: list[bytes]) -> Index:
    index, now = Index(0.0), datetime.now(UTC)
    for revision, text in enumerate(texts, 1):
        record = TaskRecord.model_validate_json(text)
        index.add(record, revision, ())
        index.judge(record.uuid, now)
    return index


def shown(report: Report, found: dict[bool, dict[str, float]]) -> None:
    """Print one comparison."""
    whole: dict[bool, Figure] = {}
    for window, name in ((False, "without"), (True, "with the window")):
        figures = found[window]
        beside = whole.get(False)
        whole[window] = report.add(
            f"{name}: the many, first created to last ended", figures["whole"], "s", beside=beside
        )
        report.add(f"{name}: submitting them", figures["submitted"], "s")
        report.add(f"{name}: the submitter's CPU for each", 1e3 * figures["cpu"], "ms")
        report.add(f"{name}: wait of a single task, median", figures["wait"], "s", beside=whole[window])
        report.add(f"{name}: the longest", figures["worst"], "s")


def main() -> int:
    """Print the table."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    report = Report()
    memory(report)
    report.title(f"{tasks} x true of one user, {SINGLES} of another one by one; {SLOTS} slots")
    shown(report, in_turns(tasks, ["true"]))
    few = max(40, tasks // 200)
    report.title(f"{few} x sleep 1 of one user, {SINGLES} x true of another one by one; {SLOTS} slots")
    shown(report, in_turns(few, ["sleep", "1"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
