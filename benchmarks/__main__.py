"""All measurements, or those that are named: python -m benchmarks [--smoke] [--json FILE] [GROUP…].

Only ratios within one run say anything: machines differ, and so do hours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import bulk, fleet, growth, idle, listing, logs, routing, shell, start
from benchmarks.peers import PACKAGES
from benchmarks.report import Report

#: name -> measurement; the argument says whether to see only that it still runs
GROUPS: dict[str, Callable[[Report, bool], None]] = {
    "shell": lambda report, smoke: shell.rows(
        report,
        tasks=20 if smoke else 5000,
        latencies=5 if smoke else 200,
        others=() if smoke else tuple(PACKAGES),
    ),
    "bulk": lambda report, smoke: bulk.rows(report, tasks=20 if smoke else 100_000),
    "start": lambda report, smoke: start.rows(report, rounds=1 if smoke else 20, original=not smoke),
    "listing": lambda report, smoke: listing.rows(
        report, few=20 if smoke else 1000, many=200 if smoke else 100_000, rounds=1 if smoke else 5
    ),
    "routing": lambda report, smoke: routing.rows(
        report, executors=20 if smoke else 1000, rounds=20 if smoke else 20_000
    ),
    "logs": lambda report, smoke: logs.rows(
        report, megabytes=1 if smoke else 60, latencies=2 if smoke else 20
    ),
    "idle": lambda report, smoke: idle.rows(report, seconds=0.5 if smoke else 60.0),
    "fleet": lambda report, smoke: fleet.rows(
        report,
        tasks=20 if smoke else 2000,
        workers=2 if smoke else 10,
        beats=100 if smoke else 1000,
        seconds=0.5 if smoke else 20.0,
    ),
    "growth": lambda report, smoke: growth.rows(
        report,
        sizes=(10, 20) if smoke else (100, 1000, 10_000, 100_000),
        latencies=2 if smoke else 50,
        draw=not smoke,
    ),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a handful of each, to see that all of it runs")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    report = Report()
    for name in args.groups or GROUPS:
        GROUPS[name](report, args.smoke)
    if args.json:
        report.save(args.json)


if __name__ == "__main__":
    main()
