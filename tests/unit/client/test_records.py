"""Finding one task."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.client.scene import Scene

from qme.bus.kv import Corrupt
from qme.client.selectors import Ambiguous
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.errors import NotFound, RecordCorrupt
from qme_submitter.trail import Trail

A = "01990000-aaaa-7000-8000-00000000aaaa"
B = "01990000-bbbb-7000-8000-00000000aaaa"


async def test_parts_of_an_id_are_looked_up(stage: Scene) -> None:
    """Beginning or end, with or without the executor; one that several have is an error."""
    first, second = await stage.task("one", uuid=A), await stage.task("two", executor="slurm", uuid=B)
    for text, key in (("01990000-a", first), ("slurm-aaaa", second), (second.taskid, second), (A, first)):
        assert (await stage.client.get(text, output=False)).uuid == key.uuid
    with pytest.raises(Ambiguous):
        await stage.client.get("aaaa")


async def test_a_cleared_task_makes_no_id_ambiguous(stage: Scene) -> None:
    """Its marker stays for a while, and counts for nothing."""
    cleared, kept = await stage.task("one", uuid=A), await stage.task("two", uuid=B)
    await stage.clear(cleared)
    assert (await stage.client.get("aaaa", output=False)).uuid == kept.uuid
    with pytest.raises(NotFound):
        await stage.client.get("01990000-a")
    with pytest.raises(NotFound):
        await stage.client.get(cleared.taskid)


@pytest.mark.parametrize("text", ["banana", A, f"shell-{A}", f"slurm-{B}", "ffff"])
async def test_what_does_not_exist(stage: Scene, text: str) -> None:
    """Also a whole id under another executor's name."""
    await stage.task("two", uuid=B)
    with pytest.raises(NotFound, match="no such task"):
        await stage.client.get(text)


async def test_a_replica_that_knows_nothing_yet_is_not_believed(stage: Scene) -> None:
    """That there is no such task is the leader's word."""
    key = await stage.task("one")
    subject = subjects.bucket_subject(subjects.BUCKET_TASKS, str(key))
    stream = subjects.bucket_stream(subjects.BUCKET_TASKS)
    asked: list[bool] = []
    last = stage.reader.last

    async def behind(stream: str, subject: str, *, leader: bool = False) -> object:
        asked.append(leader)
        return await last(stream, subject, leader=True) if leader else None

    stage.reader.__dict__["last"] = behind
    assert (await stage.client.get(key.uuid, output=False)).uuid == key.uuid
    assert asked == [False, True]
    assert await last(stream, subject) is not None


async def test_the_last_task_is_the_users_last(stage: Scene) -> None:
    """Wherever it was submitted; without one, and after it was cleared, that is said."""
    with pytest.raises(NotFound, match="no task yet"):
        await stage.client.get()
    key = await stage.task("one")
    await stage.task("two")
    await stage.last_is(key)
    assert (await stage.client.get(output=False)).uuid == key.uuid
    assert (await stage.client.get("last", output=False)).uuid == key.uuid
    await stage.clear(key)
    with pytest.raises(NotFound, match="cleared"):
        await stage.client.get()


async def test_an_unreadable_record_is_named(stage: Scene) -> None:
    """And can be cleared: its uuid is enough for that."""
    key = await stage.task("one")
    await stage.spoil(key)
    with pytest.raises(RecordCorrupt, match="can't be read"):
        await stage.client.get(key.uuid)
    (target,) = await stage.client.targets([key.uuid], unreadable=True)
    assert (target.uuid, target.attempt) == (key.uuid, None)


async def test_get_fills_in_the_output(stage: Scene) -> None:
    """The record holds an excerpt; the log stream has it all, up to a size."""
    key = await stage.run("make", output=b"caf\xc3\xa9\n\xff\xfe\nno newline")
    data = (await stage.client.get(key.uuid)).data
    assert data["output"] == ["café\n", "\\xff\\xfe\n", "no newline"]
    assert (data["output_bytes"], data["output_truncated"], data["truncated"]) == (19, False, False)
    assert data["error"] == []


async def test_get_shows_beginning_and_end_of_much_output(stage: Scene) -> None:
    """What is left out between them is marked, and the count is of all of it."""
    key = await stage.task("make")
    await stage.start(key)
    for n in range(10):
        await stage.write(key, f"line {n}\n".encode() + b"x" * 20_000 + b"\n")
    await stage.end(key)
    data = (await stage.client.get(key.uuid)).data
    text = "".join(data["output"])
    assert data["output_bytes"] == 10 * 20_008
    assert data["output_truncated"]
    assert text.startswith("line 0\nxx")
    assert "line 9\n" in text[-20_010:]
    assert text.endswith("x\n")
    assert "bytes left out" in text
    assert len(text) < 66_000


async def test_get_of_a_running_task_shows_what_there_is(stage: Scene) -> None:
    """Its record counts nothing yet."""
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"so far\n")
    data = (await stage.client.get(key.uuid)).data
    assert (data["output"], data["output_bytes"]) == (["so far\n"], 7)


async def test_get_keeps_the_excerpt_of_what_the_log_limit_cut(stage: Scene) -> None:
    """The end of such output is in the record only."""
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"first\n")
    await stage.end(key, output=["first\n", "gap\n", "last\n"], output_bytes=10**9)
    data = (await stage.client.get(key.uuid)).data
    assert data["output"] == ["first\n", "gap\n", "last\n"]
    assert data["truncated"]


async def test_events_tell_a_tasks_story(stage: Scene) -> None:
    """Oldest first, by whom, also when it has been cleared."""
    async with asyncio.TaskGroup() as group:
        trail = group.create_task(Trail(stage.bus).keep())
        async with asyncio.timeout(10), stage.bus.follow(subjects.EVERY_EVENT) as noted:
            key = await stage.run("make")
            await stage.clear(key)
            story: list[tuple[str, str]] = []
            while len(story) < 4:
                await anext(noted)
                changes = stage.client.events(key.taskid)
                story = [(change.outcome or change.status, change.by) async for change in changes]
        trail.cancel()
    assert story == [("queued", "ann"), ("running", "w1"), ("success", "w1"), ("cleared", "")]


async def test_what_is_acted_on_is_the_leaders_word(stage: Scene) -> None:
    """A replica still names the task before the last one, and an attempt that is over: neither is believed."""
    older, newer = await stage.run("older"), await stage.run("newer")
    await stage.last_is(older)
    users = subjects.bucket_stream(subjects.BUCKET_USERS)
    tasks = subjects.bucket_stream(subjects.BUCKET_TASKS)
    was_last = await stage.bus.last(users, ">")
    was_first = await stage.bus.last(tasks, subjects.bucket_subject(subjects.BUCKET_TASKS, str(newer)))
    await stage.last_is(newer)
    await stage.rerun(newer)
    ask = stage.bus.last

    async def behind(stream: str, subject: str, *, leader: bool = False) -> object:
        if not leader and stream == users:
            return was_last
        if not leader and newer.uuid in subject:
            return was_first
        return await ask(stream, subject, leader=leader)

    stage.reader.__dict__["last"] = behind
    assert (await stage.client.records.last()).uuid == newer.uuid
    (target,) = await stage.client.targets([newer.taskid])
    assert target.attempt == 2


async def test_a_record_speaks_for_its_own_task_only(stage: Scene) -> None:
    """What somebody's worker writes under a key of its pool is shown neither as another task nor as another's name."""
    key = await stage.task("one", uuid=A)
    entry = await stage.records.get(str(key))
    assert entry is not None
    odd = entry.value.model_copy(update={"executor": "/evil.example/"})
    for at, pretended in ((TaskKey("shell", "u-bob", B), entry.value), (key, odd)):
        held = await stage.records.look(str(at))
        await stage.records.update(str(at), pretended, held.revision if held else 0)
    for uuid in (A, B):
        with pytest.raises(RecordCorrupt, match="it says that it is"):
            await stage.client.get(uuid, output=False)
    listing = await stage.client.list()
    assert (listing.records, len(listing.unreadable)) == ([], 2)
    assert all(isinstance(item, Corrupt) for item in [item async for item in stage.client.stream()])
