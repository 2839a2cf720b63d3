"""One chaos run: ``python -m tests.chaos --tasks 10000 --minutes 12 --seed 1 --nodes 1``. Prints its table; 1: broken.

Its folder is kept where something broke, so that it can be read: notes of the commands, logs, verdict.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from tests.chaos.report import write
from tests.chaos.run import Chaos, run


def main() -> int:
    """Run, print, and say by the exit code whether all held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--tasks", type=int, default=10_000, help="ids that are to be printed")
    parser.add_argument("--minutes", type=float, default=12.0, help="over which they are spread")
    parser.add_argument("--nodes", type=int, default=1, help="NATS servers: 1 or 3")
    parser.add_argument(
        "--seed", type=int, default=None, help="repeats the jobs and the faults of another run"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/guarantees.md")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a new one)")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started is ended, as by Ctrl-C
    chaos = Chaos(seed=seed, tasks=args.tasks, seconds=args.minutes * 60, nodes=args.nodes)
    report = asyncio.run(run(chaos, args.folder))
    sys.stdout.write(report.text())
    if args.write:
        write(report)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
