"""Random graphs with random ends, reruns, cancels and submitters that die, on the in-memory bus, step by step.

What is held all the while: nobody is claimed before its parents have ended as it wants. In the end nobody is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qme.bus.memory import MemoryServer
from qme.contracts.messages import Submission, SubmitRequest, Target
from qme.contracts.tasks import On, Outcome, Parent, RetryPolicy, TaskRecord
from qme.errors import InvalidRequest
from qme.lifecycle import Claimed, Ended, Met, Standing, edge, violations
from qme.settings import Settings
from qme_submitter.process import Submitter

from .conftest import ANN, NOW, World, submission

#: for each task: the tasks before it that it waits for, and in which way
Edges = list[list[tuple[int, On]]]

_ENDS = [Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILED, Outcome.TIMEOUT]


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    """A graph without circles, of up to a dozen tasks."""
    size = draw(st.integers(2, 12))
    return [
        [
            (parent, draw(st.sampled_from([On.SUCCESS, On.SUCCESS, On.ANY, On.FAIL])))
            for parent in sorted(draw(st.sets(st.integers(0, max(task - 1, 0)), max_size=3)) if task else ())
        ]
        for task in range(size)
    ]


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["look", "look", "claim", "claim", "end", "end", "kill", "rerun", "cancel", "breathe"]
        ),
        st.integers(0, 99),
    ),
    max_size=60,
)


@dataclass
class Site:
    """Two submitters, of whom each may act as leader at any time, and one worker that does as it is told."""

    world: World
    tasks: list[Submission]
    submitters: list[Submitter] = field(default_factory=list)
    listening: list[asyncio.Task[None]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    async def start(self, at: int) -> None:
        """Put a new submitter in a place: one that was there has died, with all it knew."""
        one = await self.world.submitter()
        if at < len(self.submitters):
            self.listening[at].cancel()
            self.submitters[at], self.listening[at] = one, asyncio.create_task(one.janitor.listen())
        else:
            self.submitters.append(one)
            self.listening.append(asyncio.create_task(one.janitor.listen()))
        await breathe()

    async def do(self, what: str, number: int) -> None:
        """Do one step, if there is something to do it to."""
        one = self.submitters[number % 2]
        task = self.tasks[number % len(self.tasks)]
        match what:
            case "look":
                await one.janitor.look()
            case "claim":
                queue = await self.world.queue()
                if queue:
                    await self.claim(queue[number % len(queue)])
            case "end" if self.held:
                await self.end(self.held.pop(number % len(self.held)), _ENDS[number % len(_ENDS)])
            case "kill":
                await self.start(number % 2)
            case "rerun" | "cancel":
                change = one.changes.rerun if what == "rerun" else one.changes.cancel
                with contextlib.suppress(InvalidRequest):  # it has not ended
                    await change(Target(uuid=task.uuid), ANN)
            case _:
                await breathe()

    async def claim(self, uuid: str) -> None:
        """Claim a task; here is where too early would be seen."""
        record = await self.world.record(uuid)
        await self.world.lose_message(record.key)
        if not record.due:
            return
        for parent in next(task for task in self.tasks if task.uuid == uuid).after:
            ends = await self.ends(parent)
            assert any(isinstance(edge(parent, end, NOW, 0.0), Met) for end in ends), (
                f"{uuid} began too early"
            )
        claim = Claimed("w", f"{uuid}.{record.attempt}", record.attempt, NOW)
        await self.submitters[0].changes.apply(record.key, claim, "w")
        self.held.append(uuid)

    async def ends(self, parent: Parent) -> list[Standing]:
        """Give how a parent stands, and how its earlier attempts ended: it may have been rerun meanwhile."""
        record = await self.world.record(parent.uuid)
        return [Standing.of(record), *(Standing(past.outcome) for past in record.attempts)]

    async def end(self, uuid: str, outcome: Outcome) -> None:
        """End what the worker holds."""
        record = await self.world.record(uuid)
        await self.submitters[0].changes.apply(
            record.key, Ended(record.attempt, outcome, datetime.now(UTC)), "w"
        )

    async def drain(self) -> None:
        """Let everything come to its end."""
        for _ in range(20 * len(self.tasks)):
            await self.submitters[0].janitor.look()
            for uuid in await self.world.queue():
                await self.claim(uuid)
            while self.held:
                await self.end(self.held.pop(), Outcome.SUCCESS)
            if all(record.ended for record in await self.records()):
                return
        raise AssertionError([record.uid for record in await self.records() if not record.ended])

    async def records(self) -> list[TaskRecord]:
        """Read all tasks."""
        return [await self.world.record(task.uuid) for task in self.tasks]


async def breathe() -> None:
    """Let what was published arrive."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _live(folder: Path, edges: Edges, moves: list[tuple[str, int]]) -> None:
    server = MemoryServer()

    async def connect(user: str) -> object:
        return server.connect(user)

    world = World(connect, Settings(home=folder, lost_settle=0.0))  # type: ignore[arg-type]
    world.bus = server.connect("tester")
    await world.submitter()
    await world.define("shell", "default")
    tasks: list[Submission] = []
    for parents in edges:
        after = tuple(Parent(uuid=tasks[at].uuid, on=on) for at, on in parents)
        retry = RetryPolicy(limit=1, delay=0.0) if len(parents) == 2 else RetryPolicy()
        tasks.append(submission("true", after=after, retry=retry))
    site = Site(world, tasks)
    await site.start(0)
    await site.start(1)
    results = await site.submitters[0].acceptor.submit(
        SubmitRequest(id="r", expires=NOW, tasks=tuple(reversed(tasks))), "ann"
    )
    assert [result.error for result in results.results] == [None] * len(tasks)
    try:
        for what, number in moves:
            await site.do(what, number)
        await site.drain()
        for record in await site.records():
            assert violations(record) == []
            if record.unmet is not None:
                assert record.outcome is Outcome.CANCELLED
                assert record.reason is not None
    finally:
        for listener in site.listening:
            listener.cancel()
        await asyncio.gather(*site.listening, return_exceptions=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs(), steps)
def test_no_task_starts_too_early_and_none_is_forgotten(
    tmp_path: Path, edges: Edges, moves: list[tuple[str, int]]
) -> None:
    """Whatever ends, is rerun or cancelled, whoever leads or dies, in whatever order."""
    asyncio.run(_live(tmp_path, edges, moves))
