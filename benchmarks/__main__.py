"""All measurements, or those that are named: python -m benchmarks [--smoke] [--json FILE] [GROUP…].

Only ratios within one run say anything: machines differ, and so do hours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import shell
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
