"""The janitor takes up what broke off: on the bus as it is left behind, with a clock of its own."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from qme.bus.memory import MemoryBus
from qme.contracts.messages import Submission, Target
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import CancelRequest, Outcome, RetryPolicy, Status
from qme.errors import Conflict
from qme.lifecycle import Claimed, Ended
from qme.observe.metrics import SubmitterMetrics
from qme_submitter import orphans
from qme_submitter.janitor import Janitor
from qme_submitter.lease import Holder, Lease
from qme_submitter.process import Submitter

from .conftest import ANN, NOW, Watched, World, eventually, running, submission


def place(task: Submission) -> TaskKey:
    """Say where a task of these tests lives."""
    return TaskKey("shell", "default", task.uuid)


async def accepted(world: World, **changed: Any) -> tuple[Submitter, Submission]:
    """Submit a task."""
    one = await world.submitter()
    task = submission("echo", "hi", **changed)
    await one.acceptor.accept(task, "ann")
    return one, task


def later(one: Submitter, seconds: float) -> None:
    """Let time pass for a submitter."""
    one.buckets.clock = lambda: datetime.now(UTC) + timedelta(seconds=seconds)


def chores(one: Submitter) -> AbstractAsyncContextManager[None]:
    """Run a submitter's janitor, and what it hands on."""
    return running(one.janitor.run(), one.janitor.listen(), one.releasing.run())


async def test_a_record_without_its_message_gets_one_after_the_grace(world: World) -> None:
    """What a submitter left that died between record and message is queued again, once."""
    one, task = await accepted(world)
    await world.lose_message(place(task))
    await one.janitor.look()
    assert await world.queue() == []
    later(one, 10)
    await one.janitor.look()
    await one.janitor.look()
    assert await world.queue() == [task.uuid]
    metrics = one.metrics_registry.get_sample_value("qme_submitter_republished_total")
    assert metrics == 1.0


async def test_a_message_is_missed_whatever_the_clocks_say(world: World) -> None:
    """Released by a submitter minutes ahead, or seen by a janitor whose clock was set back by two hours since."""
    ahead = await world.submitter()
    later(ahead, 300)
    await ahead.acceptor.accept(first := submission("true"), "ann")
    one, second = await accepted(world)
    await world.lose_message(place(first))
    await one.janitor.look()
    later(one, 10)
    await one.janitor.look()
    assert sorted(await world.queue()) == sorted((first.uuid, second.uuid))
    later(one, 7200)
    await one.janitor.look()
    await world.lose_message(place(second))
    later(one, 0)
    await one.janitor.look()
    assert sorted(await world.queue()) == sorted((first.uuid, second.uuid))


async def test_a_message_that_is_there_is_left_alone_however_long(world: World) -> None:
    """A task may wait for its worker for days."""
    one, task = await accepted(world)
    for day in range(1, 4):
        later(one, day * 86_400)
        await one.janitor.look()
    assert await world.queue() == [task.uuid]


async def test_a_claimed_task_is_its_workers(world: World) -> None:
    """The message is gone because a worker has the task."""
    one, task = await accepted(world)
    await one.janitor.look()
    await world.lose_message(place(task))
    await world.advance(task.uuid, Claimed("w", "n", 1, NOW))
    later(one, 10)
    await one.janitor.look()
    assert await world.queue() == []


async def test_what_is_mirrored_is_read_again_before_it_counts(world: World) -> None:
    """A task claimed after the janitor's last look at all records gets no second message."""
    one, task = await accepted(world)
    await one.janitor.look()
    await world.lose_message(place(task))
    await world.advance(task.uuid, Claimed("w", "n", 1, NOW))
    later(one, 10)
    await one.janitor._mend(str(place(task)))
    assert await world.queue() == []


async def test_a_message_that_came_meanwhile_is_not_doubled(world: World) -> None:
    """The leader is asked for it once more before it is published again; a replica that lags is not believed."""
    one, task = await accepted(world)
    if isinstance(world.bus, MemoryBus):  # a single real server has no replica
        world.bus.server.faults.replicas_lag = True
    later(one, 10)
    await one.janitor._mend(str(place(task)))
    assert await world.queue() == [task.uuid]


async def test_a_retry_is_released_when_its_time_has_come(world: World) -> None:
    """Not before; then it is due, and in the queue."""
    one, task = await accepted(world, retry=RetryPolicy(limit=1, delay=30.0))
    await world.lose_message(place(task))
    await world.advance(task.uuid, Claimed("w", "n", 1, NOW), Ended(1, Outcome.FAILED, datetime.now(UTC)))
    await one.janitor.look()
    assert not (await world.record(task.uuid)).due
    later(one, 31)
    await one.janitor.look()
    record = await world.record(task.uuid)
    assert (record.attempt, record.due, record.not_before) == (2, True, None)
    assert await world.queue() == [task.uuid]
    assert one.metrics_registry.get_sample_value("qme_submitter_retried_total") == 1.0


async def test_a_wish_to_cancel_that_nobody_fulfils_is_fulfilled(world: World) -> None:
    """Recorded, and no worker has the task: the janitor ends it."""
    one, task = await accepted(world)
    key = str(place(task))
    entry = await one.buckets.records.get(key)
    assert entry is not None
    wish = CancelRequest(by="ann", at=NOW)
    await one.buckets.records.update(key, entry.value.model_copy(update={"cancel": wish}), entry.revision)
    await one.janitor.look()
    assert (await world.record(task.uuid)).status is Status.CANCELLED
    assert await world.queue() == []


async def test_one_bad_record_hides_no_other(world: World) -> None:
    """Corrupt records, and such as name another task, are passed over."""
    one, task = await accepted(world)
    await world.bus.append("$KV.qme_tasks.shell.default.x", b"{")
    entry = await one.buckets.records.get(str(place(task)))
    assert entry is not None
    forged = TaskKey("shell", "default", submission().uuid)
    await one.buckets.records.create(str(forged), entry.value)
    await one.buckets.records.create("odd", entry.value)
    await world.lose_message(place(task))
    later(one, 10)
    await one.janitor.look()
    assert await world.queue() == [task.uuid]


async def test_a_bucket_made_anew_is_read_anew(world: World) -> None:
    """After the store was lost, sequences begin again below what was read."""
    one, _ = await accepted(world)
    await one.janitor.look()
    one.janitor._last += 1000
    another = submission()
    await one.acceptor.accept(another, "ann")
    await world.lose_message(place(another))
    later(one, 10)
    await one.janitor.look()
    assert another.uuid in await world.queue()


@pytest.mark.parametrize("set_back", [True, False])
async def test_behind_an_outage_an_older_store_is_noticed(world: World, set_back: bool) -> None:
    """Sequences that have caught up say nothing: the key that was read last tells, and costs one question."""
    watched = Watched(world.bus)
    one = await world.submitter(watched)
    task = submission()
    await one.acceptor.accept(task, "ann")
    await one.janitor.look()
    one.janitor._open.clear()  # of this task nothing was known before the store was put back
    one.janitor._doubt = True
    # As if the key had stood at a later revision before, and others had written so much since.
    one.janitor._last += set_back
    if set_back:
        await world.bus.append("$KV.qme_tasks.odd", b"{")
    await world.lose_message(place(task))
    watched.calls.clear()
    later(one, 10)
    await one.janitor.look()
    assert await world.queue() == ([task.uuid] if set_back else [])
    assert (("read", "KV_qme_tasks") in watched.calls) == set_back


async def test_a_spec_without_a_record_is_dropped_after_an_hour(world: World) -> None:
    """Its submission broke off and nobody was told an id; it is neither run late nor kept."""
    one = await world.submitter()
    task = submission()
    record = await one.acceptor.accept(task, "ann")
    await world.bus.purge("KV_qme_tasks", ">")
    one.janitor._orphans = orphans.Orphans(one.buckets, every=0.0)
    later(one, orphans.ORPHANED - 60)
    await one.janitor.look()
    assert await one.buckets.specs.get(str(place(task))) is not None
    later(one, orphans.ORPHANED + 60)
    await one.janitor.look()
    assert await one.buckets.specs.get(str(place(task))) is None
    with pytest.raises(Conflict):  # a submitter that was just about to create the record comes too late
        await one.buckets.records.create(str(place(task)), record)


async def test_a_spec_with_its_record_stays(world: World) -> None:
    """However old the task is."""
    one, task = await accepted(world)
    one.janitor._orphans = orphans.Orphans(one.buckets, every=0.0)
    later(one, 10 * orphans.ORPHANED)
    await one.janitor.look()
    assert await one.buckets.specs.get(str(place(task))) is not None


async def test_a_short_delay_is_not_stretched_to_the_interval(world: World) -> None:
    """The event of a retry wakes the janitor, which otherwise looks now and then."""
    world.settings = type(world.settings)(home=world.settings.home, janitor_interval=60.0, janitor_grace=60.0)
    watched = Watched(world.bus)
    one = await world.submitter(watched)
    task = submission("echo", "hi", retry=RetryPolicy(limit=1, delay=0.2))
    await one.acceptor.accept(task, "ann")
    async with chores(one):
        await eventually(lambda: _mirrored(one))
        await eventually(lambda: _listens(watched))
        await world.lose_message(place(task))
        await world.advance(task.uuid, Claimed("w", "n", 1, NOW))
        record = (await world.record(task.uuid)).model_copy()
        ended = Ended(1, Outcome.FAILED, datetime.now(UTC))
        await one.changes.apply(record.key, ended, "w")
        await eventually(lambda: _released(world, task), 20.0)


async def _listens(watched: Watched) -> bool:
    await watched.state(
        "KV_qme_tasks"
    )  # on the same connection: what was subscribed before is known to the server
    return ("follow", "qme.changes.>") in watched.calls


async def _mirrored(one: Submitter) -> bool:
    return one.janitor._last > 0


async def _released(world: World, task: Submission) -> bool:
    record = await world.record(task.uuid)
    return record.due and record.attempt == 2


async def test_it_ends_when_it_is_told_just_as_it_wakes(world: World) -> None:
    """Woken and cancelled in the same moment: the cancellation is not lost."""
    one, _ = await accepted(world)
    one.janitor._interval = 60.0
    running_on = asyncio.create_task(one.janitor.run())
    await eventually(lambda: _mirrored(one))
    await asyncio.sleep(0.1)
    one.janitor._wake.set()
    await asyncio.sleep(0)
    running_on.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(running_on, return_exceptions=True)
    assert running_on.cancelled()


async def test_one_of_several_does_the_chores_and_hands_over(world: World) -> None:
    """Only the holder of the lease works; when it leaves, another takes over at once."""
    first, second = await world.submitter(), await world.submitter()
    async with chores(second):
        async with chores(first):
            await eventually(lambda: _someone(world))
        # A task of now: looks grow rarer with a task's age. And one that is stopped just while it renews can't take
        # the lease back, which then ends by itself.
        _, task = await accepted(world)
        await world.lose_message(place(task))
        await eventually(lambda: _queued(world, task), 40.0)


async def _someone(world: World) -> bool:
    return await world.bus.last("KV_qme_control", "$KV.qme_control.leader.janitor") is not None


async def _queued(world: World, task: Submission) -> bool:
    return await world.queue() == [task.uuid]


async def test_the_lease_has_one_holder_and_ends_by_itself(world: World) -> None:
    """A holder that dies is followed by another one after the lease's time."""
    one, other = (Lease(world.bus, Holder(holder=name, since=NOW), 1.0) for name in ("a", "b"))
    assert await one.hold()
    assert not await other.hold()
    assert await one.hold()
    await eventually(other.hold)
    await asyncio.sleep(0.5)  # past a third of the lease, so that the first one has to write to renew
    assert not await one.hold()


async def test_the_lease_outlasts_a_long_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read all that there is may take longer than it lives; who lost it over that would begin anew for ever."""
    watched = Watched(await world.connect("submitter"))
    one = await world.submitter(watched)
    for _ in range(12):
        await one.acceptor.accept(submission(), "ann")
    seconds = [0.0]
    lease = Lease(watched, Holder(holder="a", since=NOW), 60.0, clock=lambda: seconds[0])
    janitor = Janitor(
        one.changes,
        lease,
        interval=10.0,
        grace=5.0,
        silence=one.janitor._silence,
        releasing=one.releasing,
        retention=one.retention,
        metrics=SubmitterMetrics(CollectorRegistry(), ()),
    )
    note = janitor._note

    def slowly(*seen: Any) -> None:
        seconds[0] += 10.0
        note(*seen)

    monkeypatch.setattr(janitor, "_note", slowly)
    assert await lease.hold()
    watched.calls.clear()
    await janitor.look()
    renewed = [call for call in watched.calls if call == ("append", "$KV.qme_control.leader.janitor")]
    assert len(renewed) >= 4
    assert await lease.hold()


async def test_two_janitors_at_once_do_no_harm(world: World) -> None:
    """Both do all chores at the same time: each task still ends up right."""
    one, task = await accepted(world)
    other = await world.submitter()
    retry = submission("x", retry=RetryPolicy(limit=1, delay=1.0))
    await one.acceptor.accept(retry, "ann")
    for lost in (task, retry):
        await world.lose_message(place(lost))
    await world.advance(retry.uuid, Claimed("w", "n", 1, NOW), Ended(1, Outcome.FAILED, NOW))
    await one.changes.cancel(Target(uuid=task.uuid), ANN)
    for submitter in (one, other):
        later(submitter, 10)
    await asyncio.gather(one.janitor.look(), other.janitor.look())
    assert (await world.record(task.uuid)).status is Status.CANCELLED
    record = await world.record(retry.uuid)
    assert (record.attempt, record.due) == (2, True)
    assert set(await world.queue()) == {retry.uuid}


@pytest.mark.parametrize("rounds", [3])
async def test_an_idle_janitor_asks_one_question_a_round(world: World, rounds: int) -> None:
    """Nothing has changed: one request for the size of the bucket, and no more."""
    await accepted(world)
    watched = Watched(world.bus)
    idle = await world.submitter(watched)
    await idle.janitor.look()
    watched.calls.clear()
    for _ in range(rounds):
        await idle.janitor.look()
    assert watched.calls == [("state", "KV_qme_tasks")] * rounds
