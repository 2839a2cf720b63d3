"""Cancel, rerun and clear: who may, what "already" means, and what is left behind when something breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from qme.bus.port import Request
from qme.contracts import subjects
from qme.contracts.messages import ActionRequest, Submission, Target
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status
from qme.errors import (
    Conflict,
    InvalidRequest,
    NoExecutorMatches,
    NotFound,
    NotPermitted,
    QmeError,
    RecordCorrupt,
)
from qme.lifecycle import Claimed, Ended, Started, Vanished, violations
from qme_submitter.changes import Asker
from qme_submitter.process import Submitter

from .conftest import ANN, BOB, NOW, OPERATOR, Watched, World, submission

WORKER = "w1"


def claimed(attempt: int = 1) -> Claimed:
    """Take an attempt, as a worker does."""
    return Claimed(WORKER, "nonce", attempt, NOW)


def ended(outcome: Outcome = Outcome.SUCCESS, attempt: int = 1) -> Ended:
    """End an attempt, as a worker does."""
    return Ended(attempt, outcome, NOW)


async def queued(world: World, **changed: object) -> tuple[Submitter, Submission, Target]:
    """Submit one of Ann's tasks."""
    one = await world.submitter()
    task = submission("echo", "hi", **changed)
    await one.acceptor.accept(task, "ann")
    return one, task, Target(uuid=task.uuid, attempt=1)


@asynccontextmanager
async def listening(world: World) -> AsyncIterator[list[ActionRequest]]:
    """Be the worker that holds a task, and note what it is asked."""
    heard: list[ActionRequest] = []

    async def answer(request: Request) -> bytes:
        heard.append(ActionRequest.model_validate_json(request.data))
        return b"{}"

    where = subjects.action_subject("*", "shell", "default", WORKER)
    async with (await world.connect("worker")).serve("qme-worker", {where: answer}):
        yield heard


# -- cancel ----------------------------------------------------------------------------------------------------------
async def test_a_queued_task_is_cancelled_here_and_leaves_the_queue(world: World) -> None:
    """Nobody has claimed it, so the submitter ends it alone."""
    one, task, target = await queued(world)
    result = await one.changes.cancel(target, ANN, "not needed")
    record = await world.record(task.uuid)
    assert (record.status, record.outcome, record.reason) == (
        Status.CANCELLED,
        Outcome.CANCELLED,
        "cancelled by ann before it started: not needed",
    )
    assert (result.record, result.already, result.note) == (record, False, None)
    assert await world.queue() == []


async def test_a_running_task_is_asked_to_end_and_its_worker_nudged(world: World) -> None:
    """The wish stands in the record; the worker is told to read it."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), Started(1, NOW))
    async with listening(world) as heard:
        result = await one.changes.cancel(target, ANN)
    record = await world.record(task.uuid)
    assert record.cancel is not None
    assert (record.status, record.cancel.by, result.note, result.already) == (
        Status.RUNNING,
        "ann",
        "asked",
        False,
    )
    assert [(ask.uuid, ask.attempt, ask.action) for ask in heard] == [(task.uuid, 1, None)]


async def test_cancel_says_when_the_worker_is_away(world: World) -> None:
    """The wish waits in the record, and the user reads for whom."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed())
    assert (
        await one.changes.cancel(target, ANN)
    ).note == f"asked; runs on {WORKER}, has not been seen lately"
    await world.beat("shell", "default", WORKER)
    await one.registry.refresh()
    again = await one.changes.cancel(target, ANN)
    assert again.note is not None
    assert again.note.startswith(f"asked; runs on {WORKER}, last seen ")
    assert again.already


@pytest.mark.parametrize("worker", ["*", "w.>", "w 0\r\n\r\nPUB qme.tasks.shell.default.x", ""])
async def test_a_workers_odd_name_becomes_no_subject(world: World, worker: str) -> None:
    """What a worker wrote into its claim is not sent to; cancel does without the nudge."""
    _, task, target = await queued(world)
    await world.advance(task.uuid, Claimed(worker, "n", 1, NOW))
    watched = Watched(world.bus)
    result = await (await world.submitter(watched)).changes.cancel(target, ANN)
    assert result.note == f"asked; runs on {worker}, has not been seen lately"
    assert "request" not in {method for method, _ in watched.calls}


async def test_cancel_of_what_has_ended_or_moved_on_is_already_done(world: World) -> None:
    """An ended task, and one at a later attempt than the user saw, are left alone with success."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), ended())
    result = await one.changes.cancel(target, ANN)
    assert (result.already, result.record and result.record.outcome) == (True, Outcome.SUCCESS)
    await one.changes.rerun(target, ANN)
    stale = await one.changes.cancel(target, ANN)
    assert (stale.already, stale.record and stale.record.status) == (True, Status.QUEUED)
    assert await world.queue() == [task.uuid, task.uuid]


@pytest.mark.parametrize("turn", range(8))
async def test_cancel_and_claim_at_the_same_time_agree(world: World, turn: int) -> None:
    """Whoever writes first: the task is cancelled before it starts, or its worker finds the wish. Never neither."""
    one, task, target = await queued(world)

    async def claim() -> bool:
        await asyncio.sleep(turn * 0.0005)
        try:
            await world.advance(task.uuid, claimed())
        except QmeError:
            return False
        return True

    async with listening(world):
        _, claims = await asyncio.gather(one.changes.cancel(target, ANN), claim())
    record = await world.record(task.uuid)
    assert violations(record) == []
    assert record.cancel is not None
    assert record.ended != claims


# -- rerun -----------------------------------------------------------------------------------------------------------
async def test_rerun_starts_the_next_attempt_once(world: World) -> None:
    """A repeated rerun of the attempt that was seen answers "already" and queues nothing more."""
    one, task, target = await queued(world)
    await world.lose_message(TaskKey("shell", "default", task.uuid))
    await world.advance(task.uuid, claimed(), ended(Outcome.FAILED))
    first = await one.changes.rerun(target, ANN)
    second = await one.changes.rerun(target, ANN)
    assert (first.already, second.already) == (False, True)
    record = await world.record(task.uuid)
    assert (record.attempt, record.due, [line.outcome for line in record.attempts]) == (
        2,
        True,
        [Outcome.FAILED],
    )
    assert await world.queue() == [task.uuid]


async def test_rerun_of_what_has_not_ended_is_refused(world: World) -> None:
    """A second attempt beside a running one would break the promise of one start."""
    one, _, target = await queued(world)
    with pytest.raises(InvalidRequest, match="it has not ended; cancel it first"):
        await one.changes.rerun(target, ANN)


async def test_rerun_of_a_guess_needs_force(world: World) -> None:
    """A task lost by silence may still run somewhere."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), Vanished(1, WORKER, NOW, "silent"))
    with pytest.raises(InvalidRequest, match="--force"):
        await one.changes.rerun(target, ANN)
    assert not (await one.changes.rerun(target, ANN, force=True)).already


async def test_cancel_of_a_guess_waits_for_its_worker(world: World) -> None:
    """A task lost by silence may still run: the wish is kept for the worker, should it come back."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), Vanished(1, WORKER, NOW, "silent"))
    result = await one.changes.cancel(target, ANN)
    assert result.note == f"asked; may still run on {WORKER}, has not been seen lately"
    record = await world.record(task.uuid)
    assert (record.status, record.cancel and record.cancel.by) == (Status.LOST, "ann")
    assert (await one.changes.cancel(target, ANN)).already


async def test_rerun_asks_again_whether_the_pool_takes_the_user(world: World) -> None:
    """Who is no longer admitted starts nothing by rerunning what is old."""
    one, _, target = await queued(world)
    await one.changes.cancel(target, ANN)
    await world.bus.purge("KV_qme_executors", subjects.bucket_subject("qme_executors", "ok.>"))
    later = await world.submitter()
    with pytest.raises(NoExecutorMatches, match="takes nothing from ann in pool default any more"):
        await later.changes.rerun(target, ANN)


# -- ownership -------------------------------------------------------------------------------------------------------
async def test_nobody_acts_on_what_is_not_theirs(world: World) -> None:
    """Cancel, rerun and clear of another's task are refused, for operators they are not."""
    one, task, target = await queued(world)
    for change in (one.changes.cancel, one.changes.rerun, one.changes.clear):
        with pytest.raises(NotPermitted, match=f"task {task.uuid} is ann's; an operator can change it"):
            await change(target, BOB)
    assert (await one.changes.cancel(target, OPERATOR)).record is not None
    assert (await world.record(task.uuid)).reason == "cancelled by op before it started"


async def test_the_owner_stands_in_the_spec_not_in_the_record(world: World) -> None:
    """A worker that writes another user into the record changes nothing about whose task it is."""
    one, task, target = await queued(world)
    key = str(TaskKey("shell", "default", task.uuid))
    entry = await one.buckets.records.get(key)
    assert entry is not None
    await one.buckets.records.update(key, entry.value.model_copy(update={"user": "bob"}), entry.revision)
    with pytest.raises(NotPermitted):
        await one.changes.cancel(target, BOB)
    assert (await one.changes.cancel(target, ANN)).record is not None


async def test_a_record_that_names_another_task_is_not_acted_on(world: World) -> None:
    """What a worker writes into its records must not reach another pool's queue."""
    one, task, target = await queued(world)
    key = str(TaskKey("shell", "default", task.uuid))
    entry = await one.buckets.records.get(key)
    assert entry is not None
    await one.buckets.records.update(key, entry.value.model_copy(update={"pool": "other"}), entry.revision)
    with pytest.raises(RecordCorrupt, match="says that it is"):
        await one.changes.cancel(target, ANN)


@pytest.mark.parametrize("uuid", ["*", ">", "x.y", "", "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"])
async def test_an_unknown_task_is_said(world: World, uuid: str) -> None:
    """A wildcard finds nobody's task, and a uuid that nobody used is not found."""
    one, *_ = await queued(world)
    for change in (one.changes.cancel, one.changes.rerun, one.changes.clear):
        with pytest.raises((InvalidRequest, NotFound)):
            await change(Target(uuid=uuid), OPERATOR)


# -- clear -----------------------------------------------------------------------------------------------------------
async def left(world: World, uuid: str) -> list[str]:
    """Name what the bus still holds of a task, but for the markers of deleted keys."""
    held = []
    for stream in ("KV_qme_specs", "KV_qme_tasks", subjects.TASKS, subjects.LOGS):
        held += [one.subject async for one in world.bus.read(stream) if uuid in one.subject and one.data]
    return held


async def test_clear_removes_everything_of_an_ended_task(world: World) -> None:
    """Record, spec, output and queue message go; a second clear finds that done already."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), ended())
    key = TaskKey("shell", "default", task.uuid)
    await world.bus.append(subjects.log_subject(key, 1, "stdout"), b"hi\n")
    assert not (await one.changes.clear(target, ANN)).already
    assert await left(world, task.uuid) == []
    assert (await one.changes.clear(target, ANN)).already
    with pytest.raises(NotFound):
        await one.changes.cancel(target, ANN)


async def test_clear_of_what_has_not_ended_needs_cancel(world: World) -> None:
    """A queued task is refused, and with `cancel` ended and cleared at once."""
    one, task, target = await queued(world)
    with pytest.raises(InvalidRequest, match="is queued; cancel it first, or clear it with --cancel"):
        await one.changes.clear(target, ANN)
    await one.changes.clear(target, ANN, cancel=True)
    assert await left(world, task.uuid) == []


async def test_clear_of_what_runs_waits_for_its_worker(world: World) -> None:
    """The worker ends it first; until then clear says so, and once it has ended clears it."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), Started(1, NOW))
    with pytest.raises(Conflict, match="was asked to end and has not yet"):
        await one.changes.clear(target, ANN, cancel=True)
    await world.advance(task.uuid, ended(Outcome.CANCELLED))
    await one.changes.clear(target, ANN, cancel=True)
    assert await left(world, task.uuid) == []


async def test_clear_leaves_a_task_that_was_rerun_meanwhile(world: World) -> None:
    """The user saw attempt 1 ended; attempt 2 is not what they wanted to be rid of."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), ended())
    await one.changes.rerun(target, ANN)
    result = await one.changes.clear(target, ANN)
    assert (result.already, result.note) == (True, "not cleared: it is at attempt 2 now")
    assert (await world.record(task.uuid)).attempt == 2


async def test_a_clear_that_broke_off_is_finished_by_the_next(world: World) -> None:
    """The record is gone, the rest is not: the owner clears again, and nobody else can."""
    one, task, target = await queued(world)
    await world.advance(task.uuid, claimed(), ended())
    key = str(TaskKey("shell", "default", task.uuid))
    entry = await one.buckets.records.get(key)
    assert entry is not None
    await one.buckets.records.delete(key, entry.revision)
    with pytest.raises(NotPermitted):
        await one.changes.clear(target, BOB)
    await one.changes.clear(target, ANN)
    assert await left(world, task.uuid) == []


async def test_a_record_that_cannot_be_read_is_cleared_by_force(world: World) -> None:
    """Its owner is told how, and the spec still says who that is."""
    one, task, target = await queued(world)
    key = TaskKey("shell", "default", task.uuid)
    await world.bus.append(subjects.bucket_subject("qme_tasks", str(key)), b"{broken")
    with pytest.raises(RecordCorrupt, match=f"qme clear {task.uuid} --force removes it"):
        await one.changes.clear(target, ANN, cancel=True)
    with pytest.raises(NotPermitted):
        await one.changes.clear(target, BOB, force=True)
    await one.changes.clear(target, ANN, force=True)
    assert await left(world, task.uuid) == []


async def test_a_record_without_a_spec_is_an_operators(world: World) -> None:
    """Nobody can tell any more whose it is."""
    one, task, target = await queued(world)
    await one.changes.cancel(target, ANN)
    await world.bus.purge("KV_qme_specs", subjects.bucket_subject("qme_specs", "*.*." + task.uuid))
    for asker in (ANN, Asker("bob")):
        with pytest.raises(NotPermitted, match="nobody can tell any more whose task"):
            await one.changes.clear(target, asker)
    await one.changes.clear(target, OPERATOR)
    assert await left(world, task.uuid) == []


async def test_a_spec_that_cannot_be_read_is_an_operators_by_force(world: World) -> None:
    """Neither owner nor command can be told; only force by an operator removes such a task."""
    one, task, target = await queued(world)
    await one.changes.cancel(target, ANN)
    key = TaskKey("shell", "default", task.uuid)
    await world.bus.append(subjects.bucket_subject("qme_specs", str(key)), b"{broken")
    with pytest.raises(RecordCorrupt, match="an operator can remove it"):
        await one.changes.clear(target, ANN, force=True)
    await one.changes.clear(target, OPERATOR, force=True)
    assert await left(world, task.uuid) == []
