"""All measurements, or those that are named: python -m benchmarks [--smoke|--full] [--json FILE] [GROUP…].

Only ratios within one run say anything: machines differ, and so do hours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks import bulk, fleet, growth, idle, listing, logs, routing, shell, start
from benchmarks.peers import PACKAGES
from benchmarks.report import Report


class Scale(NamedTuple):
    """How much is measured."""

    smoke: bool  #: a handful, to see that all of it runs
    full: bool  #: as much as the goals speak of, for an hour or more

    def of(self, smoke: int, usual: int, full: int | None = None) -> int:
        """Choose one of three."""
        return smoke if self.smoke else (full or usual) if self.full else usual


#: name -> measurement
GROUPS: dict[str, Callable[[Report, Scale], None]] = {
    "routing": lambda report, scale: routing.rows(
        report, executors=scale.of(20, 1000), rounds=scale.of(20, 20_000)
    ),
    "shell": lambda report, scale: shell.rows(
        report,
        tasks=scale.of(20, 5000),
        latencies=scale.of(5, 200),
        others=() if scale.smoke else tuple(PACKAGES),
    ),
    "start": lambda report, scale: start.rows(report, rounds=scale.of(1, 20), original=not scale.smoke),
    "bulk": lambda report, scale: bulk.rows(report, tasks=scale.of(20, 20_000, 100_000)),
    "listing": lambda report, scale: listing.rows(
        report, few=scale.of(20, 1000), many=scale.of(200, 100_000, 1_000_000), rounds=scale.of(1, 5)
    ),
    "logs": lambda report, scale: logs.rows(report, megabytes=scale.of(1, 60), latencies=scale.of(2, 20)),
    "idle": lambda report, scale: idle.rows(report, seconds=0.5 if scale.smoke else 60.0),
    "fleet": lambda report, scale: fleet.rows(
        report,
        tasks=scale.of(20, 2000),
        workers=scale.of(2, 10),
        beats=scale.of(100, 1000),
        seconds=0.5 if scale.smoke else 20.0,
    ),
    "growth": lambda report, scale: growth.rows(
        report,
        sizes=(5, 10) if scale.smoke else (100, 1000, 10_000, *((100_000,) if scale.full else ())),
        latencies=scale.of(2, 50),
        draw=not scale.smoke,
    ),
}
#: those that a smoke run leaves out: three NATS nodes take it as long as all others together
_NO_SMOKE = ("fleet",)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a handful of each, to see that all of it runs")
    parser.add_argument("--full", action="store_true", help="as much as the goals speak of")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    report = Report()
    scale = Scale(smoke=args.smoke, full=args.full)
    for name in args.groups or [name for name in GROUPS if not (scale.smoke and name in _NO_SMOKE)]:
        GROUPS[name](report, scale)
    if args.json:
        report.save(args.json)


if __name__ == "__main__":
    main()
