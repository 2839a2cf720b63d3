"""Typed buckets: create, update and delete by compare-and-set."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict
from tests.contract.conftest import World, until

from qme.bus.kv import Bucket, Corrupt, Entry, Removed
from qme.bus.topology import bucket as bucket_spec
from qme.contracts import subjects
from qme.errors import Conflict, RecordCorrupt


class Note(BaseModel):
    """A record for these tests."""

    model_config = ConfigDict(extra="allow")
    text: str


@pytest.fixture
async def notes(world: World) -> Bucket[Note]:
    """An empty bucket."""
    await world.bus.ensure([bucket_spec(world.mark, replicas=1)])
    return Bucket(world.bus, world.mark, Note)


async def values(notes: Bucket[Note], pattern: str = ">", start: int = 1) -> list[object]:
    """What a scan gives, values by their text."""
    found = [entry async for entry in notes.scan(pattern, start=start)]
    return [(entry.key, entry.value.text) if isinstance(entry, Entry) else entry for entry in found]


async def test_a_created_key_is_read_back_with_its_revision(notes: Bucket[Note]):
    """Key, value, revision; unknown keys of the value are kept."""
    revision = await notes.create("a.b.1", Note.model_validate({"text": "x", "newer": [1]}))
    for leader in (False, True):
        entry = await notes.get("a.b.1", leader=leader)
        assert entry is not None
        assert (entry.key, entry.revision, entry.value.text) == ("a.b.1", revision, "x")
        assert entry.value.model_extra == {"newer": [1]}


async def test_a_missing_key_is_none(notes: Bucket[Note]):
    """Not an error."""
    assert await notes.get("a.b.1") is None
    assert await notes.get("a.b.1", leader=True) is None


async def test_a_key_is_found_by_a_pattern(notes: Bucket[Note]):
    """By uuid alone."""
    await notes.create("shell.p.u1", Note(text="1"))
    await notes.create("shell.p.u2", Note(text="2"))
    entry = await notes.get("*.*.u1", leader=True)
    assert entry is not None
    assert (entry.key, entry.value.text) == ("shell.p.u1", "1")


async def test_a_key_is_created_once(notes: Bucket[Note]):
    """The second create conflicts."""
    await notes.create("a", Note(text="1"))
    with pytest.raises(Conflict):
        await notes.create("a", Note(text="2"))


async def test_a_key_is_not_created_where_a_matching_one_exists(notes: Bucket[Note]):
    """`unless`: one uuid under one executor only."""
    await notes.create("shell.p.u1", Note(text="1"), unless="*.*.u1")
    with pytest.raises(Conflict):
        await notes.create("slurm.q.u1", Note(text="2"), unless="*.*.u1")


async def test_an_update_names_the_revision_it_read(notes: Bucket[Note]):
    """A stale revision conflicts and changes nothing."""
    first = await notes.create("a", Note(text="1"))
    second = await notes.update("a", Note(text="2"), first)
    assert second > first
    with pytest.raises(Conflict):
        await notes.update("a", Note(text="3"), first)
    assert await values(notes) == [("a", "2")]


async def test_a_deleted_key_reads_as_missing_and_can_not_be_created(notes: Bucket[Note]):
    """Until its marker is gone."""
    revision = await notes.create("a", Note(text="1"))
    with pytest.raises(Conflict):
        await notes.delete("a", revision + 1)
    await notes.delete("a", revision)
    assert await notes.get("a") is None
    assert await notes.get("a", leader=True) is None
    with pytest.raises(Conflict):
        await notes.create("a", Note(text="2"))


async def test_a_deletion_marker_goes_by_itself(notes: Bucket[Note]):
    """Then the key may be created again."""
    await notes.delete("a", await notes.create("a", Note(text="1")), keep_marker=1)

    async def gone() -> bool:
        return not await values(notes)

    await until(gone)
    await notes.create("a", Note(text="2"))


async def test_a_put_key_expires(notes: Bucket[Note]):
    """A heartbeat that is not renewed goes away."""
    await notes.put("hb", Note(text="alive"), ttl=1)
    await notes.put("hb", Note(text="still"), ttl=1)
    assert await values(notes) == [("hb", "still")]

    async def gone() -> bool:
        return await notes.get("hb") is None

    await until(gone)


async def test_a_scan_gives_keys_in_the_order_of_their_last_change(notes: Bucket[Note]):
    """All or those that match, from a revision on; deletions and unreadable values show."""
    first = await notes.create("x.1", Note(text="1"))
    await notes.create("x.2", Note(text="2"))
    await notes.create("y.3", Note(text="3"))
    changed = await notes.update("x.1", Note(text="1b"), first)
    assert await values(notes) == [("x.2", "2"), ("y.3", "3"), ("x.1", "1b")]
    assert await values(notes, "x.*") == [("x.2", "2"), ("x.1", "1b")]
    assert await values(notes, start=changed) == [("x.1", "1b")]
    await notes.delete("x.1", changed)
    assert (await values(notes))[-1] == Removed("x.1", changed + 1)


async def test_one_unreadable_value_hides_no_other(notes: Bucket[Note], world: World):
    """A get raises, a scan goes on."""
    await notes.create("a", Note(text="1"))
    await world.bus.append(subjects.bucket_subject(world.mark, "b"), b"no json")
    await notes.create("c", Note(text="3"))
    with pytest.raises(RecordCorrupt):
        await notes.get("b")
    one, bad, two = await values(notes)
    assert (one, two) == (("a", "1"), ("c", "3"))
    assert isinstance(bad, Corrupt)
    assert (bad.key, bad.revision) == ("b", 2)


async def test_headers_are_stored_with_a_write(notes: Bucket[Note], world: World):
    """They become the event of the change."""
    revision = await notes.create("a", Note(text="1"), headers={"Qme-Status": "queued"})
    await notes.update("a", Note(text="2"), revision, headers={"Qme-Status": "running"})
    message = await world.bus.last(notes.stream, subjects.bucket_subject(world.mark, "a"))
    assert message is not None
    assert message.headers == {"Qme-Status": "running"}
