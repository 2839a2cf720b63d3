"""Where the time of `qme run true` goes, on a stack that runs already. Prints a table; judges nothing.

    python benchmarks/run_split.py [N]

Each round is a fresh interpreter that runs the command line's own function, with marks set around its steps. What
counts is the last row: what qme itself takes once Python has started and the modules are loaded.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 20
STEPS = (
    ("start", "Python's own start"),
    ("import", "imports: nats, pydantic, qme"),
    ("connect", "find the stack and connect"),
    ("run", "listen, submit, run, final record"),
    ("rest", "parse, settings, disconnect, print"),
    ("exit", "Python's own end"),
)
#: steps that are qme's own, not Python's
OWN = ("connect", "run", "rest")


def child(spawned: float) -> int:
    """Run `qme run true` once and write how long each step took, in seconds, to file descriptor 3."""
    marks = {"start": time.monotonic() - spawned}
    begin = time.monotonic()
    # All that the command imports on its way, so that its steps are free of it.
    import qme.bus.jetstream
    import qme.cli.parsing
    import qme.client.connect
    import qme.local
    from qme.cli import entry, run
    from qme.contracts.tasks import TaskRecord

    marks["import"] = time.monotonic() - begin
    connecting = qme.client.connect.open_bus

    async def open_bus(*args: object) -> object:
        began = time.monotonic()
        bus = await connecting(*args)  # type: ignore[arg-type]
        marks["connect"] = time.monotonic() - began
        marks["run"] = time.monotonic()
        return bus

    def explained(record: TaskRecord) -> None:
        marks["run"] = time.monotonic() - marks["run"]

    qme.client.connect.open_bus = open_bus  # type: ignore[assignment]
    run.explain = explained
    begin = time.monotonic()
    code = entry.run(["run", "true"])
    whole = time.monotonic() - begin
    marks["rest"] = whole - marks["connect"] - marks["run"]
    marks["exit"] = time.monotonic()
    os.write(3, json.dumps(marks).encode())
    return code


def one_round() -> dict[str, float]:
    """Give the seconds of each step of one fresh run."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    # The child finds the pipe at descriptor 3, whatever number it has here.
    command = f"exec {sys.executable} {__file__} --child {time.monotonic()} 3>&{write}"
    process = subprocess.Popen(["/bin/sh", "-c", command], pass_fds=(write,))
    os.close(write)
    with os.fdopen(read) as told:
        text = told.read()
    if process.wait() != 0:
        raise SystemExit("`qme run true` failed")
    marks: dict[str, float] = json.loads(text)
    marks["exit"] = time.monotonic() - marks["exit"]
    return marks


def main() -> int:
    """Run the rounds and print the medians in milliseconds."""
    if sys.argv[1:2] == ["--child"]:
        return child(float(sys.argv[2]))
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    one_round()  # starts the stack if there is none, and warms the caches
    found = [one_round() for _ in range(rounds)]
    print(f"qme run true, {rounds} rounds, milliseconds: median (fastest, slowest)")
    for step, what in STEPS:
        times = [1000 * marks[step] for marks in found]
        print(f"  {what:38} {statistics.median(times):7.1f}  ({min(times):.1f}, {max(times):.1f})")
    own = [1000 * sum(marks[step] for step in OWN) for marks in found]
    print(
        f"  {'qme besides start and imports':38} {statistics.median(own):7.1f}  ({min(own):.1f}, {max(own):.1f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
