"""How the dashboard's copy of the records behaves with many of them: python benchmarks/dashboard_store.py [TASKS]."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from qme.bus.kv import Entry
from qme.client.mirroring import BATCH, Batch
from qme.contracts.tasks import Outcome, Status, TaskRecord
from qme_dashboard import queries
from qme_dashboard.kept import Kept
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.store import Store

_NOW = datetime.now(UTC)


def entry(number: int) -> Entry[TaskRecord]:
    """A task that ended within the last day, with some output in its record."""
    created = _NOW - timedelta(seconds=86_400 * (1 - number / 1e7) - number % 86_400)
    failed = number % 13 == 0
    record = TaskRecord(
        uid=f"shell-01900000-0000-7000-8000-{number:012x}",
        executor="shell",
        pool="default",
        command=f"./analyse --sample {number} data/{number % 97}.fits",
        user=f"user{number % 20}",
        status=Status.COMPLETE,
        outcome=Outcome.FAILED if failed else Outcome.SUCCESS,
        created=created,
        started=created + timedelta(seconds=number % 60),
        finished=created + timedelta(seconds=60 + number % 600),
        labels={"sample": str(number)},
        data={
            "returncode": int(failed),
            "output": [f"line {n} of {number}\n" for n in range(8)],
            "error": ["oops\n"],
        },
    )
    return Entry(str(record.key), record, number + 1)


def timed(what: str, store: Store, act: Callable[[], object], times: int = 5) -> None:
    """Print the best of some tries, with no answer kept from the one before."""
    best = float("inf")
    for _ in range(times):
        store.version += 1
        store.kept = Kept()
        best = min(best, _seconds(act))
    print(f"{what:44}{best * 1000:9.1f} ms")


def _seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def main(tasks: int) -> None:
    """Fill a store, and ask it what pages ask."""
    store, since = Store(), _NOW.timestamp() - 86_400
    begin = time.perf_counter()
    for start in range(0, tasks, BATCH):
        items = [entry(number) for number in range(start, min(start + BATCH, tasks))]
        store.apply(Batch([*items], fresh=start == 0, whole=start + BATCH >= tasks))
    print(f"{tasks} tasks taken in, with indexes: {time.perf_counter() - begin:.1f} s")
    timed("first page", store, lambda: store.page(Filter(), Paging()))
    timed("last page", store, lambda: store.page(Filter(), Paging(page=tasks // 50)))
    timed(
        "failures of one user",
        store,
        lambda: store.page(Filter(user="user7", states=frozenset({"failure"})), Paging()),
    )
    timed("sorted by run time", store, lambda: store.page(Filter(), Paging(sort="run time")))
    timed(
        "regular expression that fits few",
        store,
        lambda: store.page(Filter(query=r"data/96\.fits$"), Paging()),
    )
    timed("one label", store, lambda: store.page(Filter(labels={"sample": "7"}), Paging()))
    timed("tiles", store, store.groups)
    timed("ended per minute, a day", store, lambda: store.rows(queries.ended_per(600, since)))
    timed("p50 and p95 of run time, a day", store, lambda: store.quantiles("run", since))
    timed("one change taken in", store, lambda: store.apply(Batch([entry(tasks // 2)], whole=True)))
    size = sum(path.stat().st_size for path in store.folder.iterdir())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"on disk {size >> 20} MiB, in memory at most {memory >> 10} MiB (the process as a whole)")
    store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
