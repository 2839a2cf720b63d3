"""A layered graph of tasks beside the same tasks without dependencies, and how long a task waits for its release.

    python -m benchmarks.graph [TASKS [ROUNDS]]

Layers of 100; each task waits for three of the layer before it. Whoever waits costs nothing but its release; what the
graph costs beside that is width: at most one layer, or two, can run at a time.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from benchmarks.report import Report, percentile
from benchmarks.site import Site, site
from qme.client import AsyncClient, Options
from qme.client.connect import connect
from qme.client.submission import prepare
from qme.contracts import subjects
from qme.contracts.messages import Submission
from qme.contracts.tasks import HEADER_OUTCOME, HEADER_WAITS, Outcome, Parent, TaskRecord

TASKS = 10_000
WIDTH = 100
PARENTS = 3
SLOTS = 4
#: each way, in turns: a machine that others use is faster at one time than at another
ROUNDS = 1


def graph(client: AsyncClient, tasks: int, *, flat: bool) -> list[Submission]:
    """Give the tasks, layer by layer."""
    made: list[Submission] = []
    options = Options(cwd="/", group="flat" if flat else "graph")
    for number in range(tasks):
        layer, place = divmod(number, WIDTH)
        above = [(layer - 1) * WIDTH + (place + 7 * step) % WIDTH for step in range(PARENTS)] if layer else []
        parents = [] if flat else [Parent(uuid=made[at].uuid) for at in above]
        made.append(client.own(prepare(["true"], options, host="bench"), parents))
    return made


async def one_round(place: Site, tasks: int, *, flat: bool) -> dict[str, float]:
    """Run them all; seconds from the first `created` to the last `finished`, and waits for the release."""
    async with connect(place.settings) as client:
        wanted = graph(client, tasks, flat=flat)
        begin = time.monotonic()
        async for result in client.submit_many(wanted):
            if result.error is not None:
                raise SystemExit(f"a task was refused: {result.error}")
        submitted = time.monotonic() - begin
        async for done in client.ended([task.uuid for task in wanted]):
            if done.record is None or done.record.outcome is not Outcome.SUCCESS:
                raise SystemExit(f"a task of the benchmark did not succeed: {done.record}")
        uuids = {task.uuid for task in wanted}
        records = {
            record.uuid: record
            async for record in client.stream()
            if isinstance(record, TaskRecord) and record.uuid in uuids
        }
        released = await _releases(client, wanted) if not flat else []
    first = min(record.created for record in records.values())
    last = max(record.finished for record in records.values() if record.finished)
    waits = [_wait(records, task) for task in wanted if task.after]
    return {
        "seconds": (last - first).total_seconds(),
        "submitted": submitted,
        "p50": percentile(released, 0.5) if released else 0.0,
        "p99": percentile(released, 0.99) if released else 0.0,
        "early": float(sum(wait < 0 for wait in waits)),
    }


async def _releases(client: AsyncClient, wanted: list[Submission]) -> list[float]:
    """Seconds from the last parent's end to the release, as the audit trail has noted both."""
    released: dict[str, float] = {}
    ended: dict[str, float] = {}
    async for event in client.bus.read(subjects.EVENTS, subjects.event_filter("*")):
        uuid = event.subject.rpartition(".")[2]
        if event.time is not None and HEADER_WAITS not in event.headers:
            released.setdefault(uuid, event.time.timestamp())
        if event.time is not None and HEADER_OUTCOME in event.headers:
            ended[uuid] = event.time.timestamp()
    return [
        released[task.uuid] - max(ended[parent.uuid] for parent in task.after)
        for task in wanted
        if task.after and task.uuid in released and all(parent.uuid in ended for parent in task.after)
    ]


def _wait(records: dict[str, TaskRecord], task: Submission) -> float:
    """Seconds from the last end, or the submission where that was later, to the start."""
    own = records[task.uuid]
    ends = [end for parent in task.after if (end := records[parent.uuid].finished)]
    assert own.started is not None
    return (own.started - max(*ends, own.created)).total_seconds()


async def alone(place: Site, rounds: int) -> list[float]:
    """Waits of a task whose parent ends while nothing else is to be done."""
    waits = []
    async with connect(place.settings) as client:
        for _ in range(rounds):
            parent = client.own(prepare(["sleep", "0.2"], Options(cwd="/"), host="bench"))
            child = client.own(prepare(["true"], Options(cwd="/"), host="bench"), [Parent(uuid=parent.uuid)])
            records = {}
            async for _ in client.submit_many([parent, child]):
                pass
            async for done in client.ended([parent.uuid, child.uuid]):
                assert done.record is not None
                records[done.uuid] = done.record
            waits.append(_wait(records, child))
    return waits


def main() -> int:
    """Print the table."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    report = Report()
    report.title(
        f"{tasks} x true in layers of {WIDTH}, each after {PARENTS} of the layer before; {SLOTS} at a time; "
        f"median of {rounds}, first created to last finished"
    )
    with site() as place:
        place.worker(slots=SLOTS)
        asyncio.run(one_round(place, SLOTS, flat=True))  # warms everything up
        found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for _ in range(rounds):
            for flat in (True, False):
                found[flat].append(asyncio.run(one_round(place, tasks, flat=flat)))
        waits = asyncio.run(alone(place, 20))

    def median(flat: bool, name: str) -> float:
        return statistics.median(one[name] for one in found[flat])

    plain = report.add("without dependencies", median(True, "seconds"), "s")
    report.add("the graph", median(False, "seconds"), "s", beside=plain)
    submitted = report.add("submitted, without dependencies", median(True, "submitted"), "s")
    report.add("submitted, the graph", median(False, "submitted"), "s", beside=submitted)
    report.add("last parent's end to the release, p50", 1e3 * median(False, "p50"), "ms")
    report.add("the same, p99", 1e3 * median(False, "p99"), "ms")
    report.add(
        "last parent's end to the start, with nothing else to do, p50", 1e3 * statistics.median(waits), "ms"
    )
    report.add("tasks that began before a parent's end", sum(one["early"] for one in found[False]), "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
