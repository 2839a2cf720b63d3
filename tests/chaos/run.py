"""One chaos run from start to verdict: the site, the load, the faults, and then what became of every task."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import Tormentor
from tests.chaos.load import Load
from tests.chaos.plan import Kind, clients, number_in
from tests.chaos.report import Report
from tests.chaos.site import Site
from tests.chaos.verdict import Notes, Seen, judge

from qme.client import AsyncClient
from qme.client.connect import connect
from qme.client.excerpt import text
from qme.contracts.output import STDERR, STDOUT
from qme.contracts.tasks import TaskRecord

#: tasks whose output is read at the same time
TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Chaos:
    """What a run is to be."""

    seed: int
    tasks: int  #: ids that are to be printed
    seconds: float  #: over which they are spread
    nodes: int = 1  #: NATS servers
    submitters: int = 2
    workers: int = 3
    gap: float = 4.0  #: seconds between two faults of services, on average
    settle: float = 240.0  #: seconds after the last fault in which every task has to end

    @property
    def largest(self) -> int:
        """Jobs that the largest clients bring."""
        return min(100, max(12, self.tasks // 15))


async def run(chaos: Chaos, folder: Path | None = None) -> Report:
    """Do it. The folder is removed where all held and nobody named it."""
    place = folder or Path(tempfile.mkdtemp(prefix="qme-chaos-"))
    _say(f"seed {chaos.seed}, {chaos.tasks} tasks over {chaos.seconds:.0f} s, {chaos.nodes} NATS, in {place}")
    site = Site(place / "site", nodes=chaos.nodes, submitters=chaos.submitters, workers=chaos.workers)
    load = Load(site, clients(chaos.seed, chaos.largest), chaos.seed)
    tormentor = Tormentor(site, chaos.seed, chaos.gap)
    begin = time.monotonic()
    try:
        await asyncio.to_thread(site.start)
        await load.surely("run", "true")  # everybody is there
        async with _beside(_tell(load, tormentor)), _beside(load.sweep()), asyncio.TaskGroup() as people:
            async with tormentor.at_work():
                await load.submit(people, chaos.tasks, chaos.seconds)
            _say("no more faults; waiting for what is left")
        async with connect(site.settings) as client:
            await _settle(client, load, chaos.settle)
            seen = await _see(client)
        report = Report(
            chaos=chaos,
            took=time.monotonic() - begin,
            verdict=judge(load.jobs, load.printed, seen, _read(site.notes), load.rerun),
            faults=tormentor.counts + load.counts,
            problems=load.problems + [f"{name} ended by itself" for name in site.fallen()],
        )
    finally:
        load.close()
        await site.end()
    (place / "report.txt").write_text(report.text(details=True))
    if report.holds and folder is None:
        await asyncio.to_thread(shutil.rmtree, place)
    else:
        _say(f"everything is in {place}")
    return report


async def _settle(client: AsyncClient, load: Load, seconds: float) -> None:
    """Wait for the end of every task; cancel those that never end and whose ids nobody was told."""
    deadline = time.monotonic() + seconds
    cancelled = False
    while time.monotonic() < deadline:
        open_ = [
            record async for record in client.stream() if isinstance(record, TaskRecord) and not record.ended
        ]
        if not open_:
            return
        endless = [one.uid for one in open_ if _kind(load, one) is Kind.CANCELLED and one.cancel is None]
        if endless and not cancelled:
            await load.surely("cancel", *endless)
            cancelled = True
        _say(f"{len(open_)} tasks are left")
        with suppress(TimeoutError):
            async with asyncio.timeout(min(30.0, max(1.0, deadline - time.monotonic()))):
                async for _ in client.ended([record.uuid for record in open_]):
                    pass


def _kind(load: Load, record: TaskRecord) -> Kind | None:
    job = load.jobs.get(number_in(record.command) or 0)
    return job.kind if job else None


async def _see(client: AsyncClient) -> dict[str, Seen]:
    """Read every task and all of its output."""
    room = asyncio.Semaphore(TOGETHER)

    async def look(record: TaskRecord) -> Seen:
        async with room:
            out, err = [await text(client.bus, record, stream) for stream in (STDOUT, STDERR)]
            return Seen(record, out, err)

    records = [one async for one in client.stream() if isinstance(one, TaskRecord) and number_in(one.command)]
    seen = await asyncio.gather(*(look(record) for record in records))
    return {one.record.uid: one for one in seen}


def _read(folder: Path) -> Notes:
    notes = Notes()
    for path in folder.iterdir():
        lines = path.read_text().splitlines()
        notes.read(*((lines, ()) if path.suffix == ".starts" else ((), lines)))
    return notes


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do something for as long as the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tell(load: Load, tormentor: Tormentor) -> None:
    """Say now and then how far it is."""
    begin = time.monotonic()
    while True:
        await asyncio.sleep(15.0)
        faults = (tormentor.counts + load.counts).total()
        _say(f"{time.monotonic() - begin:4.0f} s: {len(load.printed)} accepted, {faults} faults")


def _say(line: str) -> None:
    sys.stderr.write(f"chaos: {line}\n")
