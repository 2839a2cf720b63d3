"""Tasks that wait for others: accepted, released within a moment of the last end, or ended with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qme.bus.memory import MemoryBus
from qme.contracts.messages import Submission, SubmitRequest, Target
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import (
    HEADER_OUTCOME,
    On,
    Outcome,
    Parent,
    Status,
    TaskRecord,
    TaskSpec,
    event_headers,
)
from qme.errors import InvalidRequest, NotFound
from qme.lifecycle import Claimed, Ended, Never, Standing, Vanished, Waits, edge, new_record, violations
from qme_submitter.process import Submitter
from qme_submitter.releasing import _together
from qme_submitter.waiting import Index

from .conftest import ANN, NOW, World, eventually, running, submission


def after(*tasks: Submission, on: On = On.SUCCESS, **changed: Any) -> Submission:
    """Describe a task that waits for others."""
    return submission("child", after=tuple(Parent(uuid=task.uuid, on=on) for task in tasks), **changed)


async def submit(one: Submitter, *tasks: Submission) -> list[str | None]:
    """Submit in one request; gives the error of each, if there is one."""
    request = SubmitRequest(id="r", expires=NOW, tasks=tasks)
    results = (await one.acceptor.submit(request, "ann")).results
    return [result.error["message"] if result.error else None for result in results]


async def end(world: World, task: Submission, outcome: Outcome = Outcome.SUCCESS) -> None:
    """Run a task as its worker does; the change is told on the bus."""
    one = await world.submitter()
    attempt = (await world.record(task.uuid)).attempt
    record = await world.advance(task.uuid, Claimed("w", f"n{attempt}", attempt, NOW))
    await one.changes.apply(record.key, Ended(attempt, outcome, datetime.now(UTC)), "w")


@asynccontextmanager
async def leading(one: Submitter) -> AsyncIterator[Submitter]:
    """Run what a submitter does besides answering."""
    one.janitor._interval = 60.0  # nothing here may hang on its next look
    async with running(one.janitor.run(), one.janitor.listen(), one.releasing.run()):
        await eventually(lambda: _leads(one))
        yield one


async def _leads(one: Submitter) -> bool:
    return one.releasing._leads


async def state(world: World, task: Submission) -> str:
    """Say in a word where a task stands."""
    record = await world.record(task.uuid)
    assert violations(record) == []
    return "due" if record.due else str(record.outcome or ("waits" if record.waits else "held"))


async def becomes(world: World, task: Submission, word: str, seconds: float = 20.0) -> None:
    """Wait until a task stands so."""

    async def holds() -> bool:
        return await state(world, task) == word

    await eventually(holds, seconds)


async def test_a_child_is_queued_when_its_last_parent_has_succeeded(world: World) -> None:
    """Not before: until then there is no message, and the record says what it waits for."""
    async with leading(await world.submitter()) as one:
        first, second = submission(), submission()
        child = after(first, second)
        assert await submit(one, child, first, second) == [None, None, None]
        record = await world.record(child.uuid)
        assert (record.status, record.released) == (Status.QUEUED, None)
        assert record.waiting_for is not None
        assert (record.waiting_for.count, record.waiting_for.parents) == (2, child.after)
        await end(world, first)
        assert await state(world, child) == "waits"
        assert child.uuid not in await world.queue()
        await end(world, second)
        await becomes(world, child, "due")
        assert child.uuid in await world.queue()
        assert (await world.record(child.uuid)).waiting_for is None


@pytest.mark.parametrize(
    ("on", "outcome", "word"),
    [
        (On.SUCCESS, Outcome.SUCCESS, "due"),
        (On.SUCCESS, Outcome.FAILED, "cancelled"),
        (On.ANY, Outcome.SUCCESS, "due"),
        (On.ANY, Outcome.TIMEOUT, "due"),
        (On.FAIL, Outcome.FAILED, "due"),
        (On.FAIL, Outcome.SUCCESS, "cancelled"),
    ],
)
async def test_what_each_end_means_to_each_wish(world: World, on: On, outcome: Outcome, word: str) -> None:
    """Met, the child is queued; what can't be met any more ends it, and the reason says for whose end."""
    async with leading(await world.submitter()) as one:
        parent = submission()
        child = after(parent, on=on)
        await submit(one, parent, child)
        await end(world, parent, outcome)
        await becomes(world, child, word)
        record = await world.record(child.uuid)
        if word == "cancelled":
            wish = "the success" if on is On.SUCCESS else "the failure"
            assert (
                record.reason == f"it waits for {wish} of shell-{parent.uuid}, which ended as {outcome.value}"
            )
            assert record.unmet == parent.uuid


async def test_down_the_graph(world: World) -> None:
    """Whoever waits for a cancelled task's success is cancelled too; whoever waits for its end, or failure, starts."""
    async with leading(await world.submitter()) as one:
        top = submission()
        middle = after(top)
        bottom, cleaner, alarm = after(middle), after(middle, on=On.ANY), after(middle, on=On.FAIL)
        await submit(one, top, middle, bottom, cleaner, alarm)
        await end(world, top, Outcome.FAILED)
        await becomes(world, bottom, "cancelled")
        await becomes(world, cleaner, "due")
        await becomes(world, alarm, "due")


async def test_of_another_submitters_tasks_the_leader_hears(world: World) -> None:
    """The one that accepts need not be the one that releases."""
    other = await world.submitter()
    async with leading(await world.submitter()):
        parent = submission()
        child = after(parent)
        await submit(other, parent, child)
        await end(world, parent)
        await becomes(world, child, "due")


async def test_an_outcome_that_nobody_knows_is_no_end(world: World) -> None:
    """A worker writes the headers of its changes; whatever stands there, the leader goes on."""
    async with leading(await world.submitter()) as one:
        parent, other = submission(), submission()
        child, grandchild = after(parent), after(other)
        assert await submit(one, parent, other, child, grandchild) == [None] * 4
        entry = await one.buckets.records.get(str((await world.record(parent.uuid)).key), leader=True)
        assert entry is not None
        headers = event_headers(entry.value, "w") | {HEADER_OUTCOME: "splendid"}
        await one.buckets.records.update(entry.key, entry.value, entry.revision, headers=headers)
        await end(world, other)
        await becomes(world, grandchild, "due")
        assert await state(world, child) == "waits"


async def test_who_begins_to_lead_finds_what_waits(world: World) -> None:
    """Whatever ended while nobody led: parents that ended, were cleared, and children that were only accepted."""
    before = await world.submitter()
    done, cleared, open_ = submission(), submission(), submission()
    children = [after(done), after(cleared), after(cleared, on=On.ANY), after(open_)]
    await submit(before, done, cleared, open_, *children)
    await end(world, done)
    await end(world, cleared)
    await before.changes.clear(Target(uuid=cleared.uuid), ANN)
    async with leading(await world.submitter()):
        for child, word in zip(children, ["due", "cancelled", "due", "waits"], strict=True):
            await becomes(world, child, word)
    assert (await world.record(children[1].uuid)).reason == (
        f"it waits for the success of {cleared.uuid}, which was cleared"
    )


async def test_a_parent_that_ended_before_the_submission(world: World) -> None:
    """Nothing will tell of it any more: it is looked up."""
    async with leading(await world.submitter()) as one:
        parent = submission()
        await submit(one, parent)
        await end(world, parent)
        child = after(parent)
        await submit(one, child)
        await becomes(world, child, "due")


async def test_a_long_list_of_parents(world: World) -> None:
    """The record has the first few, the spec has all, and all count."""
    async with leading(await world.submitter()) as one:
        parents = [submission() for _ in range(12)]
        child = after(*parents)
        await submit(one, child, *parents)
        record = await world.record(child.uuid)
        assert record.waiting_for is not None
        assert (record.waiting_for.count, len(record.waiting_for.parents)) == (12, 8)
        for parent in parents[:-1]:
            await end(world, parent)
        await asyncio.sleep(0.1)
        assert await state(world, child) == "waits"
        await end(world, parents[-1])
        await becomes(world, child, "due")


async def test_lost_by_silence_is_no_end_yet(world: World) -> None:
    """`any` takes it at once; success and failure wait `lost_settle` for its worker to come back."""
    one = await world.submitter()
    parent = submission()
    children = {on: after(parent, on=on) for on in On}
    await submit(one, parent, *children.values())
    record = await world.advance(parent.uuid, Claimed("w", "n", 1, NOW))
    lost_at = datetime.now(UTC)
    await one.changes.apply(record.key, Vanished(1, "w", lost_at, "silent"), "s")
    await one.janitor.look()
    assert [await state(world, child) for child in children.values()] == ["waits", "due", "waits"]
    one.buckets.clock = lambda: lost_at + timedelta(seconds=one.releasing._index.settle + 1)
    await one.janitor.look()
    assert [await state(world, child) for child in children.values()] == ["cancelled", "due", "due"]


async def test_a_parent_that_is_rerun_is_waited_for_again(world: World) -> None:
    """It had succeeded while the child waited for another; now it has not."""
    async with leading(await world.submitter()) as one:
        first, second = submission(), submission()
        child = after(first, second)
        await submit(one, first, second, child)
        await end(world, first)
        await one.changes.rerun(Target(uuid=first.uuid), ANN)
        await end(world, second)
        await asyncio.sleep(0.2)
        assert await state(world, child) == "waits"
        await end(world, first)
        await becomes(world, child, "due")


async def test_who_stood_still_releases_no_later_attempt(world: World) -> None:
    """A leader that was paused judged an attempt that is over; the next one waits for its own release."""
    one = await world.submitter()
    parent = submission()
    child = after(parent)
    await submit(one, parent, child)
    await one.janitor.look()
    stale = one.releasing._index.tasks[child.uuid]
    await one.changes.cancel(Target(uuid=child.uuid), ANN)
    await one.changes.rerun(Target(uuid=child.uuid), ANN)
    await one.releasing._release(stale)
    record: TaskRecord = await world.record(child.uuid)
    assert (record.attempt, record.waits) == (2, True)


async def test_unknown_parents_and_circles_are_refused(world: World) -> None:
    """A circle refuses the whole request; a parent that nobody knows, the task and what waits for it."""
    one = await world.submitter()
    stranger = submission()
    child = after(stranger)
    grandchild = after(child)
    refused = await submit(one, grandchild, child)
    assert refused[1] == f"there is no task {stranger.uuid} to wait for"
    assert refused[0] == f"it waits for {child.uuid}, which was refused: {refused[1]}"
    with pytest.raises(NotFound):
        await one.acceptor.accept(child, "ann")
    first = submission()
    second = after(first)
    circle = first.model_copy(update={"after": (Parent(uuid=second.uuid),)})
    with pytest.raises(InvalidRequest, match="wait for each other"):
        await submit(one, circle, second)
    itself = first.model_copy(update={"after": (Parent(uuid=first.uuid),)})
    with pytest.raises(InvalidRequest, match="wait for each other"):
        await submit(one, itself)
    assert await world.queue() == []


async def test_a_repeated_submission_is_the_same_task(world: World) -> None:
    """Also where a parent has been cleared meanwhile."""
    one = await world.submitter()
    parent = submission()
    child = after(parent, on=On.ANY)
    await submit(one, parent, child)
    await end(world, parent)
    await one.changes.clear(Target(uuid=parent.uuid), ANN)
    again = await (await world.submitter()).acceptor.accept(child, "ann")
    assert again.uuid == child.uuid


async def test_a_waiting_task_is_cancelled_like_any_other(world: World) -> None:
    """At once, and its parents' ends change nothing any more."""
    async with leading(await world.submitter()) as one:
        parent = submission()
        child = after(parent)
        await submit(one, parent, child)
        await one.changes.cancel(Target(uuid=child.uuid), ANN)
        await end(world, parent)
        assert await state(world, child) == "cancelled"
        assert (await world.record(child.uuid)).unmet is None


async def test_news_of_a_lagging_replica_ends_nobody(world: World) -> None:
    """What ends a task is asked of the leader."""
    one = await world.submitter()
    parent = submission()
    child = after(parent)
    await submit(one, parent, child)
    await end(world, parent, Outcome.FAILED)
    await one.changes.rerun(Target(uuid=parent.uuid), ANN)
    if isinstance(world.bus, MemoryBus):
        world.bus.server.faults.replicas_lag = True
    await one.janitor.look()
    assert await state(world, child) == "waits"


async def test_parents_that_nobody_can_tell_are_not_guessed(world: World) -> None:
    """The record has the first of a long list; without the whole list the task does not start, and others do."""
    one = await world.submitter()
    parents = [submission() for _ in range(9)]
    child, other = after(*parents), after(parents[0])
    await submit(one, *parents, child, other)
    await world.bus.append(f"$KV.qme_specs.shell.default.{child.uuid}", b"{")
    for parent in parents:
        await end(world, parent)
    await one.janitor.look()
    assert [await state(world, task) for task in (child, other)] == ["waits", "due"]


async def test_who_is_stopped_leaves_nothing_begun() -> None:
    """Told to stop in the middle of many releases: those not begun are not begun, without a word."""
    begun: list[int] = []

    async def call(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(60)

    working = asyncio.create_task(_together(call, ((number,) for number in range(500))))
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert begun == []


async def test_what_was_heard_of_a_parent_ends_nobody_by_itself(world: World) -> None:
    """It was rerun since: the leader is asked before a task that waits for it is ended."""
    one = await world.submitter()
    parent = submission()
    child = after(parent)
    await submit(one, parent, child)
    await one.janitor.look()
    one.releasing._index.stands(parent.uuid, 1 << 40, Standing(Outcome.FAILED))
    await one.releasing.look()
    assert await state(world, child) == "waits"


def test_of_many_parents_those_are_judged_of_whom_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each end costs one look, not one at each of the others; and one that is rerun is waited for again."""
    looks: list[str] = []

    def counted(parent: Parent, *told: Any) -> Any:
        looks.append(parent.uuid)
        return edge(parent, *told)

    monkeypatch.setattr("qme_submitter.waiting.edge", counted)
    index = Index(settle=10.0)
    parents = [submission().uuid for _ in range(100)]
    child = new_record(TaskSpec(uuid=submission().uuid, user="ann", argv=("x",)), KEY, NOW)
    index.add(child, 1, [Parent(uuid=uuid) for uuid in parents])
    assert isinstance(index.judge(child.uuid, NOW), Waits)
    for number, uuid in enumerate(parents):
        assert not len(index.ready)
        index.stands(uuid, 2 + number, Standing(Outcome.SUCCESS))
        index.judge(child.uuid, NOW)
    assert len(looks) == 100
    assert len(index.ready) == 1
    index.stands(parents[7], 1000, Standing())
    assert isinstance(index.judge(child.uuid, NOW), Waits)
    index.stands(parents[7], 1001, Standing(Outcome.LOST, True, NOW))
    assert index.judge(child.uuid, NOW) == Waits(NOW + timedelta(seconds=10))
    later = NOW + timedelta(seconds=11)
    index.wake(later)
    assert isinstance(index.judge(child.uuid, later), Never)


KEY = TaskKey("shell", "default", "0199aaaa-0000-7000-8000-000000000001")
