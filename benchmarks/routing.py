"""How long a command takes to find its executor, with few and with many of them. No bus."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from benchmarks.report import Report
from qme.contracts.executors import Approval, Definition
from qme_submitter.routing import Routes

_WORDS = ("tool777", "--input", "data/sample_17.fits", "--threads", "8", "--output", "results/sample_17.csv")


def rows(report: Report, *, executors: int, rounds: int) -> None:
    """Microseconds a command."""
    report.title(f"Routing one command, mean of {rounds}")
    before = None
    for count in (min(10, executors), executors):
        routes = _routes(count)
        routes.route(_WORDS, "ann")
        begin = time.perf_counter()
        for _ in range(rounds):
            routes.route(_WORDS, "ann")
        cost = 1e6 * (time.perf_counter() - begin) / rounds
        figure = report.add(f"{count} executors", cost, "us", beside=before, goal="50 us" if before else "")
        before = before or figure


def _routes(count: int) -> Routes:
    now = datetime.now(UTC)
    names = [
        ("shell", None),
        *((f"tool{number}", rf"^(\S*/)?tool{number}(\s|$)") for number in range(count - 1)),
    ]
    definitions = [
        Definition(
            executor=name,
            pool="default",
            matchstring=pattern,
            priority=0,
            version="1",
            account="svc",
            users=("ann",),
            updated=now,
        )
        for name, pattern in names
    ]
    approvals = {
        (one.executor, one.pool): Approval(
            matchstring=one.matchstring,
            priority=one.priority,
            account=one.account,
            users=one.users,
            by="ops",
            at=now,
        )
        for one in definitions
    }
    return Routes(definitions, approvals)
