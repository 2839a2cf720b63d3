"""Who may run a task: messages that come twice, late or broken, several workers, answers that get lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.unit.worker.lab import FaultyBus, Lab, now, once, until

from qme.contracts import subjects
from qme.contracts.tasks import Outcome, Status, TaskRecord
from qme.errors import BusUnavailable, NotFound
from qme.lifecycle import Claimed
from qme.worker.claim import refusal

RECORDS = "$KV.qme_tasks"


async def _drained(lab: Lab) -> None:
    async def is_empty() -> bool:
        return await lab.queued() == 0

    await until(is_empty)


async def test_one_message_twice(lab: Lab) -> None:
    """A message that comes twice starts one command, and both are gone from the queue."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.3")
        await lab.enqueue(key)
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
        await lab.enqueue(key)
        await _drained(lab)
    assert lab.starts(key) == 1


async def test_replicas_that_lag(lab: Lab) -> None:
    """A replica that has not seen the task yet makes no worker drop it: the leader is asked."""
    lab.server.faults.replicas_lag = True
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.3")
        await _drained(lab)
        lab.server.faults.replicas_lag = False  # this test's own reads are no worker's
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1


async def test_a_message_tells_an_old_record(lab: Lab) -> None:
    """What a message tells of its task starts nothing once the record says otherwise, and loses nothing of that."""
    key = await lab.submit_marked("true")
    told = await lab.entry(key)
    await lab.cancel(key)
    await lab.enqueue(key, told=told)
    async with lab.worker():
        await _drained(lab)
    assert (await lab.entry(key)).value.outcome is Outcome.CANCELLED
    assert lab.starts(key) == 0


async def test_a_message_tells_no_other_tasks_record(lab: Lab) -> None:
    """A message whose record is another task's is taken by its uuid: each of the two runs once, as itself."""
    first, second = await lab.submit_marked("true"), await lab.submit_marked("true")
    await lab.enqueue(first, told=await lab.entry(second))
    async with lab.worker():
        records = [await lab.ended(key) for key in (first, second)]
        await _drained(lab)
    assert [record.uuid for record in records] == [first.uuid, second.uuid]
    assert [lab.starts(key) for key in (first, second)] == [1, 1]


async def test_a_place_is_free_once_the_command_has_ended(lab: Lab) -> None:
    """While a bus that takes no writes keeps one report waiting, the next command runs in its place."""
    bus = FaultyBus(lab.server.connect("ann"))
    async with lab.worker(bus=bus, slots=1):
        first = await lab.submit_marked("sleep 0.3")
        await lab.record(first, lambda record: record.status is Status.RUNNING)

        def fault(subject: str) -> None:
            if subject.endswith(first.uuid):
                raise BusUnavailable("no answer")

        bus.before = fault
        second = await lab.submit_marked("true")
        await lab.ended(second)
        assert (await lab.entry(first)).value.status is Status.RUNNING
        bus.before = lambda subject: None
        assert (await lab.ended(first)).outcome is Outcome.SUCCESS
    assert [lab.starts(key) for key in (first, second)] == [1, 1]


async def test_two_workers_race(lab: Lab) -> None:
    """Of two workers of a pool that hold the same tasks' messages, one starts each."""
    elsewhere = replace(lab.settings, local_dir=lab.home / "local" / "elsewhere")
    async with lab.worker(slots=8), lab.worker(slots=8, settings=elsewhere):
        keys = [await lab.submit_marked("true") for _ in range(8)]
        for key in keys:
            await lab.enqueue(key)
        records = [await lab.ended(key) for key in keys]
        await _drained(lab)
    assert [record.outcome for record in records] == [Outcome.SUCCESS] * 8
    assert [lab.starts(key) for key in keys] == [1] * 8


@pytest.mark.parametrize("stage", ["before", "after"])
async def test_the_claims_answer_is_lost(lab: Lab, stage: str) -> None:
    """Whether the claim was written or not when its answer got lost: it is claimed once and run once."""
    bus = FaultyBus(lab.server.connect("ann"))
    async with lab.worker(bus=bus):
        setattr(bus, stage, once(RECORDS))
        key = await lab.submit_marked("true")
        record = await lab.ended(key)
        await _drained(lab)
    assert record.outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1


@pytest.mark.parametrize("stage", ["before", "after"])
async def test_the_ends_answer_is_lost(lab: Lab, stage: str) -> None:
    """The end is written once, also where its answer got lost."""
    bus = FaultyBus(lab.server.connect("ann"))
    async with lab.worker(bus=bus):
        key = await lab.submit_marked("sleep 0.2")
        await lab.record(key, lambda record: record.claim is not None)
        setattr(bus, stage, once(RECORDS))
        record = await lab.ended(key)
        revision = (await lab.entry(key)).revision
        await asyncio.sleep(1.2)
    assert record.outcome is Outcome.SUCCESS
    assert (await lab.entry(key)).revision == revision


async def test_claimed_by_another(lab: Lab) -> None:
    """A task that is another worker's is left alone; its message is dropped."""
    key = await lab.submit_marked("true")
    await lab.change(key, Claimed("other", "n", 1, now()))
    async with lab.worker():
        await _drained(lab)
    assert lab.starts(key) == 0
    claim = (await lab.entry(key)).value.claim
    assert claim is not None
    assert claim.worker == "other"


async def test_a_task_that_is_gone(lab: Lab) -> None:
    """A message whose record was cleared is dropped, and no record appears again."""
    key = await lab.submit_marked("true")
    await lab.records.delete(str(key), (await lab.entry(key)).revision)
    async with lab.worker():
        await _drained(lab)
    assert await lab.records.get(str(key), leader=True) is None
    assert lab.starts(key) == 0


async def test_messages_that_cannot_be_used(lab: Lab) -> None:
    """Broken messages are dropped for good and stop nothing else."""
    good = await lab.submit("true")
    for data in (
        b"",
        b"{",
        b'{"uuid": "x", "attempt": 1}',
        b'{"uuid": "' + good.uuid.encode() + b'", "attempt": 0}',
    ):
        await lab.bus.append(subjects.queue_subject(replace(good, uuid="0")), data)
    stranger = b'{"uuid": "' + good.uuid.encode() + b'", "attempt": 1}'
    await lab.bus.append(subjects.queue_subject(replace(good, uuid="1")), stranger)
    async with lab.worker():
        assert (await lab.ended(good)).outcome is Outcome.SUCCESS
        await _drained(lab)


async def test_a_record_that_cannot_be_read(lab: Lab) -> None:
    """A corrupt record's message is dropped, and other tasks run."""
    bad = await lab.submit("true")
    await lab.bus.append(subjects.bucket_subject(subjects.BUCKET_TASKS, str(bad)), b"{")
    async with lab.worker():
        good = await lab.submit("true")
        await lab.ended(good)
        await _drained(lab)


async def test_a_spec_that_is_gone(lab: Lab) -> None:
    """A task whose spec is missing ends, and says so."""
    key = await lab.submit("true")
    entry = await lab.specs.get(str(key))
    assert entry is not None
    await lab.specs.delete(str(key), entry.revision)
    async with lab.worker():
        record = await lab.ended(key)
    assert (record.outcome, record.reason) == (Outcome.SUBMIT_FAILED, "what was submitted is gone")


@pytest.mark.parametrize(
    ("changes", "attempt", "why"),
    [
        ({}, 1, "the task is not released"),
        ({"released": now()}, 1, None),
        ({"released": now()}, 2, "it is about attempt 2, the task is at 1"),
        ({"released": now(), "cancel": {"by": "a", "at": now()}}, 1, "the task is to be cancelled"),
        ({"released": now(), "claim": {"worker": "w", "nonce": "n", "at": now()}}, 1, "claimed by w"),
        ({"outcome": "success"}, 1, "the task has ended"),
    ],
)
def test_when_a_message_is_due(changes: dict[str, object], attempt: int, why: str | None) -> None:
    """A message starts a task exactly while it is released, unclaimed, and of the same attempt."""
    document = {
        "uid": "shell-0",
        "executor": "shell",
        "pool": "p",
        "command": "c",
        "user": "a",
        "created": now(),
    }
    assert refusal(TaskRecord.model_validate({**document, **changes}), attempt) == why


async def test_the_streams_vanish(lab: Lab) -> None:
    """An answer that a stream does not exist is waited out."""
    bus = FaultyBus(lab.server.connect("ann"))
    async with lab.worker(bus=bus):
        key = await lab.submit_marked("sleep 0.2; echo x")
        await lab.record(key, lambda record: record.claim is not None)
        bus.before = once("qme.logs", NotFound("no such stream"))
        await lab.ended(key)
    assert await lab.output(key) == b"x\n"
