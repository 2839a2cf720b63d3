"""Reading commands with few and with many records on the bus, each as a whole process."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import uuid_utils

from benchmarks import bare
from benchmarks.report import Figure, Report
from benchmarks.site import QME, Site, site
from qme.contracts.tasks import Outcome, Status, TaskRecord

#: seconds between the many and the last ones, more than clocks may differ: a burst would all count as new
_QUIET = 12.0
_COMMANDS = {
    "qme ls": ("ls", "--all-users"),
    "qme ls shell": ("ls", "shell", "--all-users"),
    "qme ls slurm": ("ls", "slurm", "--all-users"),
    "qme get ID": ("get",),
}


def rows(report: Report, *, few: int, many: int, rounds: int) -> None:
    """The same commands with `few` and with `many` records."""
    report.title(f"Reading with {few} and with {many} records, whole processes, median of {rounds}")
    with site() as place:
        last = asyncio.run(_fill(place, 0, few))
        small = {name: _time(place, argv, last, rounds) for name, argv in _COMMANDS.items()}
        empty = _python(rounds)
        asyncio.run(_fill(place, few, many - few))
        time.sleep(_QUIET)
        last = asyncio.run(_fill(place, many - few, many))
        large = {name: _time(place, argv, last, rounds) for name, argv in _COMMANDS.items()}
        report.note(f"Python's own start meanwhile: {empty:.0f} ms, then {_python(rounds):.0f} ms")
        for name in _COMMANDS:
            before = report.add(f"{name}, {few} records", small[name], "ms")
            report.add(f"{name}, {many} records", large[name], "ms", beside=before, goal="1.5 x")
        _search(report, place, many)


def _search(report: Report, place: Site, many: int) -> None:
    begin = time.perf_counter()
    with subprocess.Popen(
        [QME, "search", "--all-users", f"sample {many // 10}[0-9]$"],
        env=place.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - begin
        hits = 1 + len(process.stdout.readlines())
    figure: Figure = report.add(
        f"qme search, {many} records, {hits} hits", time.perf_counter() - begin, "s", goal="2 s"
    )
    report.add("  until its first hit", first, "s", beside=figure)


def _time(place: Site, argv: tuple[str, ...], last: str, rounds: int) -> float:
    words = (*argv, last) if argv == ("get",) else argv
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        place.qme(*words)
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def _python(rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import nats, pydantic"], check=True)
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


async def _fill(place: Site, first: int, end: int) -> str:
    """Store records of tasks that have ended, one in a hundred of another executor; the uuid of the last one."""
    uid = ""

    async def records() -> AsyncIterator[tuple[str, bytes]]:
        nonlocal uid
        for number in range(first, end):
            executor = "slurm" if number % 100 == 0 else "shell"
            uid = f"{executor}-{uuid_utils.uuid7()}"
            created = datetime.now(UTC)
            record = TaskRecord(
                uid=uid,
                executor=executor,
                pool="default",
                command=f"./analyse --sample {number}",
                user=f"user{number % 20}",
                status=Status.COMPLETE,
                outcome=Outcome.SUCCESS,
                created=created,
                started=created + timedelta(seconds=1),
                finished=created + timedelta(seconds=2),
                data={"returncode": 0, "output": [f"sample {number}\n"], "error": []},
            )
            yield f"$KV.qme_tasks.{record.key}", record.model_dump_json().encode()

    await bare.store(place, records())
    return uid
