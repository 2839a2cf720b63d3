"""A worker that lies: what it writes into its own pool may be anything, and changes nothing for tasks of others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from qme.bus.kv import Bucket
from qme.bus.memory import MAX_PAYLOAD, MemoryBus
from qme.contracts import subjects
from qme.contracts.arrays import Progress, element_uuid
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import HEADER_ATTEMPT, Outcome, Status, TaskRecord, event_headers
from qme.errors import RecordCorrupt

from .conftest import NOW, World, eventually, submission
from .test_ahead import leading as leading_here
from .test_ahead import perform, worker
from .test_arrays import submit as submit_array
from .test_releasing import after, becomes, end, leading, submit

EVE = "u-eve"
ENDED = {"status": Status.COMPLETE, "outcome": Outcome.SUCCESS, "finished": NOW}


def forged(uuid: str, **said: object) -> TaskRecord:
    """Make a record of Eve's with any uuid."""
    key = TaskKey("shell", EVE, uuid)
    record = TaskRecord(
        uid=key.taskid, executor="shell", pool=EVE, command="x", user="eve", created=datetime.now(UTC)
    )
    return record.model_copy(update=said)


async def write(world: World, record: TaskRecord, **headers: str) -> None:
    """Write a record as Eve's worker may."""
    bucket = Bucket(world.bus, subjects.BUCKET_TASKS, TaskRecord)
    seen = await bucket.get(f"shell.{EVE}.{record.uuid}", leader=True)
    told = event_headers(record, "w") | headers
    if seen is None:
        await bucket.create(f"shell.{EVE}.{record.uuid}", record, headers=told)
    else:
        await bucket.update(seen.key, record, seen.revision, headers=told)


async def forge_key(world: World, name: str, **headers: str) -> None:
    """Write anything under any name."""
    subject = subjects.bucket_subject(subjects.BUCKET_TASKS, f"shell.{EVE}.{name}")
    await world.bus.append(subject, b"{}", headers={"Qme-Status": "queued", **headers})


@pytest.mark.parametrize("attempt", ["²", "9" * 5000, "-1", "", "one"])
async def test_no_word_in_a_header_stops_a_submitter(world: World, attempt: str) -> None:
    """Nor any name of a key: the next change is heard as before."""
    async with leading(await world.submitter()) as one:
        parent = submission()
        child = after(parent)
        await submit(one, parent, child)
        said = {HEADER_ATTEMPT: attempt} if attempt.isascii() else {}
        await forge_key(world, element_uuid(parent.uuid, 3), **said)
        for name in ("aaaaaaaaaaaaaa8", "aaaaaaaaaaaaaa8" + "g" * 21, "8" * 36, "x"):
            await forge_key(world, name, **said)
        await end(world, parent)
        await becomes(world, child, "due")


async def test_an_array_that_is_none_stops_nobody(world: World) -> None:
    """Of two thousand million tasks by its record, or of other ones than were submitted."""
    async with leading(await world.submitter()) as one:
        huge = Progress(count=(1 << 31) - 1, made=1 << 30)
        await write(world, forged(submission().uuid, array=huge))
        head = await submit_array(one, "1-3")
        entry = await one.buckets.records.get(str(head.key), leader=True)
        assert entry is not None
        lie = entry.value.model_copy(update={"array": huge})
        await one.buckets.records.update(entry.key, lie, entry.revision, headers=event_headers(lie, "w"))
        await one.janitor.look()
        parent = submission()
        child = after(parent)
        await submit(one, parent, child)
        await becomes(world, parent, "due")
        await end(world, parent)
        await becomes(world, child, "due")
        await one.janitor.look()


async def test_a_parent_ends_in_its_own_pool_alone(world: World) -> None:
    """A record of another pool with its uuid neither starts nor ends who waits for it, live or by a new leader."""
    async with leading(await world.submitter()) as one:
        parent, failing = submission(), submission()
        child, other = after(parent), after(failing)
        await submit(one, parent, child, failing, other)
        await write(world, forged(parent.uuid, **ENDED))
        await write(world, forged(failing.uuid, **{**ENDED, "outcome": Outcome.FAILED}))
        await asyncio.sleep(0.3)
        assert [await here(world, task.uuid) for task in (child, other)] == ["waits", "waits"]
    await world.bus.purge("KV_qme_control", ">")
    async with leading(await world.submitter()) as one:
        await one.janitor.look()
        assert [await here(world, task.uuid) for task in (child, other)] == ["waits", "waits"]
        for task in (parent, failing):
            await perform(world, task.uuid)
            key = TaskKey("shell", "default", task.uuid)
            entry = await one.buckets.records.get(str(key), leader=True)
            assert entry is not None
            await one.buckets.records.update(
                str(key), entry.value, entry.revision, headers=event_headers(entry.value, "w")
            )

        async def both() -> bool:
            return [await here(world, task.uuid) for task in (child, other)] == ["due", "due"]

        await eventually(both)


async def here(world: World, uuid: str) -> str:
    """Say in a word where a task of the pool stands."""
    entry = await Bucket(world.bus, subjects.BUCKET_TASKS, TaskRecord).get(
        f"shell.default.{uuid}", leader=True
    )
    assert entry is not None
    record = entry.value
    return "due" if record.due else str(record.outcome or ("waits" if record.waits else "held"))


async def test_a_task_that_waits_is_not_forgotten_for_another_of_its_name(world: World) -> None:
    """Whether that one is said to wait, or to have ended."""
    async with leading(await world.submitter()) as one:
        parent = submission()
        children = [after(parent), after(parent)]
        await submit(one, parent, *children)
        await write(world, forged(children[0].uuid))
        await write(world, forged(children[1].uuid, **ENDED))
        await asyncio.sleep(0.3)
        await end(world, parent)

        async def both() -> bool:
            return [await here(world, child.uuid) for child in children] == ["due", "due"]

        await eventually(both)


async def test_an_array_ends_in_its_own_pool_alone(world: World) -> None:
    """Ends of its tasks are those of their own records."""
    await worker(world)
    async with leading_here(world) as one:
        head = await submit_array(one, "1-3")

        async def queued() -> bool:
            return len(await world.queue()) == 3

        await eventually(queued)
        for at in range(3):
            await write(world, forged(element_uuid(head.uuid, at), **ENDED))
        await one.janitor.look()
        await asyncio.sleep(0.3)
        assert not (await world.record(head.uuid)).ended


async def test_a_record_that_can_only_be_read_is_not_read(world: World) -> None:
    """Its release would not fit a message any more, and keep the leader trying for ever."""
    async with leading(await world.submitter()) as one:
        empty = forged(submission().uuid, data={"x": ""})
        # NATS counts headers too.
        most = MAX_PAYLOAD - (5 if isinstance(world.bus, MemoryBus) else 400)
        room = most - len(empty.model_dump_json().encode())
        await write(world, empty.model_copy(update={"data": {"x": "y" * room}}))
        await one.janitor.look()
        parent = submission()
        child = after(parent)
        await submit(one, parent, child)
        await end(world, parent)
        await becomes(world, child, "due")


async def test_a_repeated_submission_trusts_no_record_of_another_name(world: World) -> None:
    """Its own worker wrote it: what it claims to be is not taken in."""
    one = await world.submitter()
    task = submission()
    record = await one.acceptor.accept(task, "ann")
    entry = await one.buckets.records.get(str(record.key), leader=True)
    assert entry is not None
    lie = entry.value.model_copy(update={"uid": f"shell-{submission().uuid}"})
    await one.buckets.records.update(entry.key, lie, entry.revision)
    with pytest.raises(RecordCorrupt):
        await one.acceptor.accept(task, "ann")
