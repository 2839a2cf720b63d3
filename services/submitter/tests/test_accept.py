"""Accepting a task: three writes in order, and one task whatever breaks between them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from qme.bus.kv import Bucket
from qme.bus.port import Ack, Bus, StreamState
from qme.contracts import subjects
from qme.contracts.messages import Submission, SubmitRequest, Target
from qme.contracts.subjects import TaskKey, keyed_uuid
from qme.contracts.tasks import LastTask, Status, TaskSpec
from qme.errors import BusUnavailable, InvalidRequest, LimitReached, NoExecutorMatches, QmeError
from qme.lifecycle import violations

from .conftest import ANN, NOW, Watched, World, submission


class Breaking:
    """A bus that breaks at one of its writes, once: before it is stored, or after, so that only its answer is lost."""

    def __init__(self, bus: Bus, write: int, *, stored: bool, error: Exception) -> None:
        self._bus = bus
        self._writes = itertools.count()
        self._at = write
        self._stored = stored
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def append(self, subject: str, data: bytes, **options: Any) -> Ack:
        """Store a message, or break."""
        breaks = next(self._writes) == self._at
        if breaks and not self._stored:
            raise self._error
        ack = await self._bus.append(subject, data, **options)
        if breaks:
            raise self._error
        return ack


def request(*tasks: Submission) -> SubmitRequest:
    """Ask for several tasks at once."""
    return SubmitRequest(id="r", expires=NOW, tasks=tasks)


async def test_a_task_is_spec_record_and_message(world: World):
    """Accepting leaves exactly these three, under one key, and the record is released from the start."""
    one = await world.submitter()
    task = submission("echo", "hi", env={"SECRET": "s"}, message="m")
    record = await one.acceptor.accept(task, "ann")
    key = TaskKey("shell", "default", task.uuid)
    assert record.uid == f"shell-{task.uuid}"
    assert (record.status, record.due, record.attempt, record.env) == (Status.QUEUED, True, 1, ("SECRET",))
    assert violations(record) == []
    assert await world.record(task.uuid) == record
    spec = await Bucket(world.bus, subjects.BUCKET_SPECS, TaskSpec).get(str(key))
    assert spec is not None
    assert (spec.value.user, spec.value.argv, spec.value.env) == ("ann", ("echo", "hi"), {"SECRET": "s"})
    assert await world.stored(subjects.TASKS) == [subjects.queue_subject(key)]


async def test_the_last_task_is_remembered_by_user(world: World):
    """`qme get` without an id finds the task that its user submitted last, on any host."""
    one = await world.submitter()
    tasks = [submission(), submission(), submission("true", cwd="bad")]
    await one.acceptor.submit(request(*tasks), "jane.doe")
    last = await Bucket(world.bus, subjects.BUCKET_USERS, LastTask).get(subjects.token("jane.doe"))
    assert last is not None
    assert last.value.uuid == tasks[1].uuid


async def test_each_task_of_a_request_is_answered_by_itself(world: World):
    """One bad task among many stops no other, and the answers stand in the request's order."""
    one = await world.submitter()
    tasks = [submission("echo", str(i)) if i % 10 else submission("") for i in range(100)]
    results = (await one.acceptor.submit(request(*tasks), "ann")).results
    assert [result.uuid for result in results] == [task.uuid for task in tasks]
    assert [bool(result.error) for result in results] == [i % 10 == 0 for i in range(100)]
    assert len(await world.stored("KV_qme_tasks")) == 90


@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2, 3], ids=["spec", "record", "message or last", "last or message"])
async def test_a_submitter_that_dies_anywhere_leaves_one_task(world: World, write: int, stored: bool):
    """The same submission, sent again to another submitter, finishes what the first one began."""
    crash = Breaking(await world.connect("submitter"), write, stored=stored, error=RuntimeError("killed"))
    task = submission("echo", "hi")
    with pytest.raises(RuntimeError, match="killed"):
        await (await world.submitter(crash)).acceptor.accept(task, "ann")
    record = await (await world.submitter()).acceptor.accept(task, "ann")
    assert record.uid == f"shell-{task.uuid}"
    assert await world.queue() == [task.uuid]
    assert len(await world.stored("KV_qme_specs")) == len(await world.stored("KV_qme_tasks")) == 1


@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2, 3], ids=["spec", "record", "message or last", "last or message"])
async def test_another_view_of_the_executors_makes_no_second_task(world: World, write: int, stored: bool):
    """The submitter that is asked again would choose another executor: it finishes what there is, where it is."""
    crash = Breaking(await world.connect("submitter"), write, stored=stored, error=RuntimeError("killed"))
    first = await world.submitter(crash)
    task = submission("echo", "hi")
    await world.define("other", "default", "echo")
    with pytest.raises(RuntimeError, match="killed"):
        await first.acceptor.accept(task, "ann")
    record = await (await world.submitter()).acceptor.accept(task, "ann")
    nothing_stored = write == 0 and not stored
    assert record.uid == f"{'other' if nothing_stored else 'shell'}-{task.uuid}"
    assert await world.queue() == [task.uuid]
    assert len(await world.stored("KV_qme_specs")) == len(await world.stored("KV_qme_tasks")) == 1


@pytest.mark.parametrize("write", [2, 3])
async def test_once_recorded_a_task_is_accepted_whatever_the_queue_does(world: World, write: int):
    """A queue that can't be written is the janitor's business; the user has the id."""
    lost = BusUnavailable("no answer")
    broken = Breaking(await world.connect("submitter"), write, stored=False, error=lost)
    task = submission()
    record = await (await world.submitter(broken)).acceptor.accept(task, "ann")
    assert await world.record(task.uuid) == record


async def test_two_submitters_that_know_different_executors_make_one_task(world: World):
    """Sent to both at once, the task has one place, one record and one message, and both answer with its id."""
    here, there = await world.submitter(), await world.submitter()
    await world.define("other", "default", "echo")
    await there.registry.refresh()
    for _ in range(10):
        task = submission("echo", "hi")
        records = await asyncio.gather(
            here.acceptor.accept(task, "ann"), there.acceptor.accept(task, "ann"), return_exceptions=True
        )
        assert {getattr(record, "uid", record) for record in records} in (
            {f"shell-{task.uuid}"},
            {f"other-{task.uuid}"},
        )
        assert (await world.queue()).count(task.uuid) == 1


async def test_a_repeated_submission_changes_nothing_even_after_the_end(world: World):
    """A late repetition gets the task as it is by now, and queues nothing."""
    one = await world.submitter()
    task = submission()
    await one.acceptor.accept(task, "ann")
    await one.changes.cancel(Target(uuid=task.uuid), ANN)
    watched = Watched(world.bus)
    again = await (await world.submitter(watched)).acceptor.accept(task, "ann")
    assert again.status is Status.CANCELLED
    assert ("append", subjects.queue_subject(again.key)) not in watched.calls


async def test_what_was_accepted_is_answered_though_nobody_takes_it_any_more(world: World):
    """A repetition gets its id from a submitter that knows no executor at all."""
    task = submission(executor="shell")
    await (await world.submitter()).acceptor.accept(task, "ann")
    await world.bus.purge("KV_qme_executors", ">")
    forgetful = await world.submitter()
    assert (await forgetful.acceptor.accept(task, "ann")).uid == f"shell-{task.uuid}"
    with pytest.raises(NoExecutorMatches):
        await forgetful.acceptor.accept(submission(), "ann")


async def test_an_executor_that_has_just_come_is_looked_for_before_refusing(world: World):
    """A submitter reads the executors again before it says that nobody takes a command."""
    one = await world.submitter()
    await world.define("slurm", "default", "^sbatch")
    record = await one.acceptor.accept(submission("x", executor="slurm"), "ann")
    assert record.executor == "slurm"


async def test_a_uuid_means_one_submission_for_ever(world: World):
    """Another command, or another user, can't have a uuid that is taken."""
    one = await world.submitter()
    task = submission("echo", "a")
    await one.acceptor.accept(task, "ann")
    for other, user in ((task.model_copy(update={"argv": ("echo", "b")}), "ann"), (task, "bob")):
        with pytest.raises(InvalidRequest, match=f"uuid {task.uuid} belongs to another submission"):
            await one.acceptor.accept(other, user)


async def test_a_key_gives_the_same_task_again(world: World):
    """The same key with the same command is the same task; with another command it is an error."""
    one = await world.submitter()
    task = submission("echo", "a", key="nightly", uuid=keyed_uuid("ann", "nightly"))
    first = await one.acceptor.accept(task, "ann")
    second = await one.acceptor.accept(task.model_copy(update={"host": "elsewhere"}), "ann")
    assert first == second
    with pytest.raises(InvalidRequest, match="key 'nightly' belongs to another submission"):
        await one.acceptor.accept(task.model_copy(update={"argv": ("b",)}), "ann")


async def test_a_cleared_task_is_not_made_again(world: World):
    """A repetition that arrives after the task was cleared starts nothing; a key has to be another one."""
    one = await world.submitter()
    task = submission("echo", "a", key="k", uuid=keyed_uuid("ann", "k"))
    await one.acceptor.accept(task, "ann")
    await one.changes.clear(Target(uuid=task.uuid), ANN, cancel=True)
    with pytest.raises(InvalidRequest, match="the task of key 'k' was cleared; submit it under another key"):
        await one.acceptor.accept(task, "ann")
    assert await world.queue() == []


async def test_a_clear_that_broke_off_still_stops_a_repetition(world: World):
    """With the record gone and the spec still there, the submission is not taken up again."""
    one = await world.submitter()
    task = submission()
    await one.acceptor.accept(task, "ann")
    await one.changes.cancel(Target(uuid=task.uuid), ANN)
    key = str(TaskKey("shell", "default", task.uuid))
    entry = await one.buckets.records.get(key)
    assert entry is not None
    await one.buckets.records.delete(key, entry.revision)
    with pytest.raises(InvalidRequest, match="was cleared; submit it under another uuid"):
        await one.acceptor.accept(task, "ann")


class Full:
    """A bus whose streams are as full as it says."""

    def __init__(self, bus: Bus, filled: Mapping[str, float]) -> None:
        self._bus = bus
        self._filled = filled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def state(self, stream: str) -> StreamState:
        """Tell a stream's size."""
        return StreamState(1, 1, 1, int(1000 * self._filled.get(stream, 0)), max_bytes=1000)


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        ("QME_TASKS", "the queue fills 95% of its storage on the bus, new tasks are refused from 90%"),
        ("KV_qme_tasks", "the records of tasks fills 95%"),
        ("KV_qme_specs", "the specs of tasks fills 95%"),
    ],
)
async def test_new_tasks_are_refused_before_the_bus_is_full(world: World, stream: str, says: str):
    """Room is left for the endings of what runs; what was accepted already is still answered."""
    task = submission()
    await (await world.submitter()).acceptor.accept(task, "ann")
    full = await world.submitter(Full(await world.connect("submitter"), {stream: 0.95}))
    with pytest.raises(LimitReached, match=says):
        await full.acceptor.accept(submission(), "ann")
    assert (await full.acceptor.accept(task, "ann")).uid == f"shell-{task.uuid}"


async def test_not_knowing_the_size_refuses_nothing(world: World):
    """The bus itself refuses what does not fit."""

    class Silent(Full):
        async def state(self, stream: str) -> StreamState:
            raise BusUnavailable(f"no answer about {stream}")

    one = await world.submitter(Silent(await world.connect("submitter"), {}))
    assert (await one.acceptor.accept(submission(), "ann")).due


async def test_a_spec_that_cannot_be_read_is_said(world: World):
    """A repeated submission over a corrupt spec is an error that says so, not a second task."""
    task = submission()
    key = TaskKey("shell", "default", task.uuid)
    await world.bus.append(subjects.bucket_subject(subjects.BUCKET_SPECS, str(key)), b"{")
    one = await world.submitter()
    with pytest.raises(QmeError, match="can't be read"):
        await one.acceptor.accept(task, "ann")
