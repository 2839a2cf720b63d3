"""The mirror of executors: it sees what comes and goes, ages what is silent, and believes no odd entry."""

from __future__ import annotations

import asyncio
import time

import pytest

from qme.bus.kv import Bucket
from qme.contracts import subjects
from qme.contracts.executors import Definition
from qme_submitter.process import Submitter

from .conftest import NOW, World, eventually, running


def definition(executor: str, pool: str) -> Definition:
    """Describe an executor."""
    return Definition(executor=executor, pool=pool, matchstring=None, account="svc", updated=NOW)


async def test_executors_that_come_and_go_are_seen_live(world: World) -> None:
    """A definition counts within moments of being advertised, and no longer once it is forgotten."""
    one = await world.submitter()
    bucket = Bucket(world.bus, subjects.BUCKET_EXECUTORS, Definition)
    async with running(one.registry.listen(), one.registry.keep_fresh()):
        await world.define("other", "gpu", "x")
        await eventually(lambda: _knows(one, "other", ["gpu"]))
        entry = await bucket.get("def.other.gpu")
        assert entry is not None
        await bucket.delete("def.other.gpu", entry.revision)
        await eventually(lambda: _knows(one, "other", []))


async def _knows(one: Submitter, executor: str, pools: list[str]) -> bool:
    return one.registry.pools(executor) == pools


async def test_a_consumer_is_made_for_each_definition(world: World) -> None:
    """A worker that has just advertised can pull; nobody else may make its consumer."""
    one = await world.submitter()
    await world.define("other", "gpu")
    await one.registry.refresh()
    await one.buckets.enqueue(subjects.TaskKey("other", "gpu", "u"), 1)
    async with world.bus.pull(
        subjects.TASKS, subjects.consumer("other", "gpu"), credit=lambda: 1
    ) as messages:
        async with asyncio.timeout(5):
            delivery = await anext(messages)
    assert delivery.message.subject == "qme.tasks.other.gpu.u"


async def test_two_places_that_spell_one_consumer_do_not_share_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """`a_b` in pool `c` and `a` in pool `b_c` have one name: the consumer stays with whom it was made for."""
    one = await world.submitter()
    await world.define("a_b", "c")
    await one.registry.refresh()
    await world.define("a", "b_c")
    await one.registry.refresh()
    await one.buckets.enqueue(subjects.TaskKey("a", "b_c", "theirs"), 1)
    await one.buckets.enqueue(subjects.TaskKey("a_b", "c", "ours"), 1)
    async with world.bus.pull(subjects.TASKS, "a_b_c", credit=lambda: 1) as messages, asyncio.timeout(5):
        delivery = await anext(messages)
    assert delivery.message.subject == "qme.tasks.a_b.c.ours"


async def test_a_worker_counts_until_three_beats_are_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats are aged by the submitter's own clock."""
    one = await world.submitter()
    await world.beat("shell", "default", "w1", interval=2.0)
    await world.beat("shell", "default", "w2", interval=20.0)
    await one.registry.refresh()
    assert one.registry.online() == {("shell", "default"): 2}
    ahead = time.monotonic() + 7.0
    monkeypatch.setattr("qme_submitter.registry.time.monotonic", lambda: ahead)
    assert one.registry.online() == {("shell", "default"): 1}
    silence = one.registry.silence("shell", "default", "w1")
    assert silence is not None
    assert 7.0 <= silence < 9.0
    assert one.registry.silence("shell", "default", "nobody") is None


async def test_what_cannot_be_read_changes_nothing(world: World) -> None:
    """Corrupt values, and definitions that speak for another key, are passed over."""
    one = await world.submitter()
    bucket = Bucket(world.bus, subjects.BUCKET_EXECUTORS, Definition)
    await world.bus.append("$KV.qme_executors.def.bad.default", b"{")
    await world.bus.append("$KV.qme_executors.odd", b"{}")
    await bucket.put("def.mine.default", definition("shell", "default"))
    await one.registry.refresh()
    assert (one.registry.pools("bad"), one.registry.pools("mine")) == ([], [])
    assert one.registry.pools("shell") == ["default"]


async def test_routes_stay_until_a_definition_changes(world: World) -> None:
    """Heartbeats and repeated adverts cost no new compilation of patterns."""
    one = await world.submitter()
    routes = one.registry.routes
    await world.beat("shell", "default", "w1")
    await world.define("shell", "default")
    await one.registry.refresh()
    await one.registry.refresh(full=True)
    assert one.registry.routes is routes
    await world.define("other", "default")
    await one.registry.refresh()
    assert one.registry.routes is not routes


async def test_a_bucket_made_anew_is_noticed(world: World) -> None:
    """What is gone with the old bucket is forgotten when everything is read again."""
    one = await world.submitter()
    await world.bus.purge("KV_qme_executors", ">")
    await world.define("other", "default")
    await one.registry.refresh(full=True)
    assert (one.registry.pools("shell"), one.registry.pools("other")) == ([], ["default"])
