"""`qme submit --file`, beside bare publishing of the same bytes to the same streams. No worker takes part."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import bare
from benchmarks.report import Report
from benchmarks.site import QME, Site, site
from qme.client.connect import connect
from qme.contracts import subjects

_STREAMS = (
    subjects.bucket_stream(subjects.BUCKET_SPECS),
    subjects.bucket_stream(subjects.BUCKET_TASKS),
    subjects.TASKS,
)


def rows(report: Report, *, tasks: int) -> None:
    """Rate, and the client's memory for a tenth and for all."""
    report.title(f"qme submit --file: {tasks} commands, as a whole process; one submitter")
    with site() as place:
        worker = place.worker(slots=1)
        place.qme("run", "true")
        worker.stop()  # its definition stays, and takes the commands
        few = _submit(place, max(1, tasks // 10))
        seconds, memory = _submit(place, tasks)
        sizes = asyncio.run(_sizes(place))
        rate = asyncio.run(bare.publish_rate(place, sizes, min(tasks, 10_000)))
    raw = report.add("nats-py alone: three messages of the same sizes", rate, "tasks/s")
    report.add("qme submit --file", tasks / seconds, "tasks/s", beside=raw, goal="0.5 x")
    small = report.add(f"  its memory, {max(1, tasks // 10)} commands", few[1], "MB")
    report.add(f"  its memory, {tasks} commands", memory, "MB", beside=small, goal="flat")


def _submit(place: Site, tasks: int) -> tuple[float, float]:
    """Submit a list; seconds and megabytes of the whole process."""
    path = place.folder / "list"
    path.write_text("".join(f"echo {number}\n" for number in range(tasks)))
    begin = time.perf_counter()
    with Path(os.devnull).open("wb") as out:
        process = subprocess.Popen(
            [QME, "submit", "--file", path], env=place.env, cwd=place.folder, stdout=out, stderr=out
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit("qme submit --file failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


async def _sizes(place: Site) -> Sequence[int]:
    """Bytes of what one task writes to each stream."""
    async with connect(place.settings) as client:
        found = []
        for stream in _STREAMS:
            state = await client.bus.state(stream)
            async for message in client.bus.read(stream, start=state.last):
                found.append(len(message.data))
        return found
