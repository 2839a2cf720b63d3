"""A random graph while submitters, workers and NATS are killed: the order is read from what the commands wrote."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.chaos.faults import Tormentor
from tests.chaos.site import Site

from qme.client import AsyncClient, Options
from qme.client.connect import connect
from qme.client.submission import prepare
from qme.contracts.messages import Submission
from qme.contracts.tasks import On, Outcome, Parent, TaskRecord
from qme.errors import BusUnavailable, LimitReached, NoExecutorMatches, from_wire

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(420)]

COMMAND = Path(__file__).with_name("command.sh")
#: QME_TEST_ALL makes it a long run
TASKS, SECONDS = (1000, 90.0) if os.environ.get("QME_TEST_ALL") else (80, 12.0)


@dataclass
class Planned:
    """A task: the codes of its attempts, those it waits for by number, and how it has to end."""

    codes: list[int]
    parents: dict[int, On]
    ends: Outcome
    uuid: str = ""


def planned(dice: random.Random, size: int) -> list[Planned]:
    """A graph in which a few tasks fail, and some only at first."""
    tasks: list[Planned] = []
    for number in range(size):
        near = range(max(0, number - 12), number)
        chosen = dice.sample(near, min(len(near), dice.choice((0, 1, 1, 2, 3))))
        parents = {parent: dice.choices(list(On), (12, 6, 1))[0] for parent in chosen}
        codes = dice.choices(([0], [1, 0], [1]), (14, 3, 1))[0]
        ends = Outcome.SUCCESS if codes[-1] == 0 else Outcome.FAILED
        if not all(is_met(on, tasks[parent].ends) for parent, on in parents.items()):
            ends = Outcome.CANCELLED
        tasks.append(Planned(codes, parents, ends))
    return tasks


def is_met(on: On, ends: Outcome) -> bool:
    """Tell whether an end is the one that is waited for."""
    return on is On.ANY or (on is On.SUCCESS) == (ends is Outcome.SUCCESS)


def submission(
    client: AsyncClient, number: int, task: Planned, tasks: list[Planned], site: Site
) -> Submission:
    """Make it a submission; two of three attempts' codes need a retry."""
    words = ["sh", str(COMMAND), str(number), str(site.notes), "1", "0.3", *map(str, task.codes)]
    options = Options(group="graph", name=str(number), retries=len(task.codes) - 1, retry_delay=0.2)
    own = client.own(
        prepare(words, options, host="client"),
        [Parent(uuid=tasks[parent].uuid, on=on) for parent, on in task.parents.items()],
    )
    task.uuid = own.uuid
    return own


async def somebody(client: AsyncClient) -> None:
    """Wait until a worker is there to submit to."""
    async with asyncio.timeout(90):
        while True:
            with suppress(NoExecutorMatches, BusUnavailable):
                await client.submit("true")
                return
            await asyncio.sleep(0.2)


async def submitted(client: AsyncClient, all_: list[Submission]) -> None:
    """Submit until each is accepted, a few requests at a time so that faults hit between them."""
    open_ = list(all_)
    while open_:
        for at in range(0, len(open_), 10):
            piece, left = open_[at : at + 10], []
            try:
                async for result in client.submit_many(piece):
                    if result.error is not None:
                        error = from_wire(result.error)
                        assert isinstance(error, BusUnavailable), error.message
                        assert not isinstance(error, LimitReached)
                        left.append(result.uuid)
            except BusUnavailable:
                left = [one.uuid for one in piece]
            if left:
                open_ = open_[at:]
                break
        else:
            return


async def ended(client: AsyncClient, tasks: list[Planned], seconds: float) -> dict[str, TaskRecord]:
    """Wait for the ends of all. Raises TimeoutError."""
    records: dict[str, TaskRecord] = {}
    async with asyncio.timeout(seconds):
        async for done in client.ended([task.uuid for task in tasks]):
            assert done.record is not None
            records[done.uuid] = done.record
    return records


def noted(site: Site, number: int, what: str) -> list[list[str]]:
    """Read what the attempts of a task wrote at their start or end."""
    path = site.notes / f"{number}.{what}"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def broken(site: Site, tasks: list[Planned], records: dict[str, TaskRecord]) -> list[str]:
    """Name what does not hold: too early, forgotten, started twice, or ended otherwise than it had to."""
    found = []
    for number, task in enumerate(tasks):
        record = records[task.uuid]
        if record.outcome is not task.ends:
            found.append(f"{number} ended as {record.outcome} ({record.reason}), not {task.ends}")
        starts, ends = noted(site, number, "starts"), noted(site, number, "ends")
        attempts = 0 if task.ends is Outcome.CANCELLED else len(task.codes)
        if [line[1] for line in starts] != [str(attempt + 1) for attempt in range(attempts)]:
            found.append(f"{number} was started as {starts}, of {attempts}")
        for parent in task.parents if starts else ():
            last = noted(site, parent, "ends")
            if tasks[parent].ends is not Outcome.CANCELLED and (
                not last or float(starts[0][2]) < float(last[-1][2])
            ):
                found.append(f"{number} began at {starts[0][2]}, its parent {parent} ended at {last}")
        if starts and len(ends) != attempts:
            found.append(f"{number} has {len(ends)} ends of {attempts}")
    return found


async def test_no_task_starts_too_early_and_none_is_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each task starts after its parents' ends, once for each attempt, or is cancelled as it has to be."""
    seed = int.from_bytes(os.urandom(3))
    tasks = planned(random.Random(seed), TASKS)  # noqa: S311 -- it is to be repeated
    site = Site(tmp_path / "site", nodes=1, submitters=2, workers=2)
    tormentor = Tormentor(site, seed, 1.0)
    try:
        await asyncio.to_thread(site.start)
        async with connect(site.settings) as client:
            await somebody(client)
            all_ = [submission(client, at, task, tasks, site) for at, task in enumerate(tasks)]
            async with tormentor.at_work():
                async with asyncio.timeout(240):
                    await submitted(client, all_)
                with suppress(TimeoutError):
                    await ended(client, tasks, SECONDS)
            records = await ended(client, tasks, 240)
        found = broken(site, tasks, records)
    finally:
        await site.end()
    with capsys.disabled():
        ends = [task.ends for task in tasks]
        told = ", ".join(f"{ends.count(one)} {one}" for one in dict.fromkeys(ends))
        sys.stdout.write(f"\ngraph of {len(tasks)}, seed {seed}: {told}; {dict(tormentor.counts)}\n")
    assert found == []
