"""What the peers' scripts share: the command, arguments, the line that they print. Runs in the peer's environment."""

import contextlib
import json
import subprocess
import sys
import time

URL, TASKS, LATENCIES, TOGETHER = sys.argv[1] if len(sys.argv) > 1 else "", 0, 0, 0
if len(sys.argv) > 4 and sys.argv[2].isdigit():
    TASKS, LATENCIES, TOGETHER = (int(word) for word in sys.argv[2:5])


def command():
    """Run what everybody runs, with its output kept, as a job system does."""
    return subprocess.run(["/bin/true"], capture_output=True, check=False).returncode


@contextlib.contextmanager
def worker(*argv, env=None):
    """Run the system's worker while the context lasts."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def clock(one, many):
    """Time the system: `one()` submits and waits for the result, `many(n)` does so with n at once."""
    one()  # the worker is up
    many(20)
    begin = time.perf_counter()
    many(TASKS)
    rate = TASKS / (time.perf_counter() - begin)
    times = []
    for _ in range(LATENCIES):
        begin = time.perf_counter()
        one()
        times.append(time.perf_counter() - begin)
    return rate, times


def tell(system, measured):
    """Print what was found."""
    rate, times = measured
    print(json.dumps({"system": system, "rate": rate, "latencies": times}))
