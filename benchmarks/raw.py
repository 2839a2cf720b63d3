"""What this machine can do at all, measured in the same run: bare processes, bare publishes. Nothing of qme here."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

TRUE = "/bin/true"


def spawn_rate(tasks: int, together: int) -> float:
    """Commands a second by posix_spawn alone, so many at a time."""
    begin = time.perf_counter()
    started = ended = 0
    while ended < tasks:
        while started < tasks and started - ended < together:
            os.posix_spawn(TRUE, [TRUE], {})
            started += 1
        os.wait()
        ended += 1
    return tasks / (time.perf_counter() - begin)


def asyncio_rate(tasks: int, together: int) -> float:
    """Commands a second by asyncio's own subprocesses with pipes, so many at a time."""

    async def run() -> None:
        gate = asyncio.Semaphore(together)

        async def one() -> None:
            async with gate:
                process = await asyncio.create_subprocess_exec(
                    TRUE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
                )
                await process.communicate()

        await asyncio.gather(*(one() for _ in range(tasks)))

    begin = time.perf_counter()
    asyncio.run(run())
    return tasks / (time.perf_counter() - begin)


def run_times(rounds: int) -> list[float]:
    """Seconds of a bare `subprocess.run`, one after the other."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run([TRUE], check=True)
        times.append(time.perf_counter() - begin)
    return times


def python_times(rounds: int, code: str) -> list[float]:
    """Seconds of a whole Python that runs a line."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - begin)
    return times
