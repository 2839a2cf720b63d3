"""Arrays: one request, tasks made of it as they are needed, each once, whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.bus.kv import Entry
from qme.contracts import arrays
from qme.contracts.arrays import Array, element_uuid, family, is_element, of_lines, parse, place_of
from qme.contracts.messages import Target
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, TaskRecord, TaskSpec
from qme.errors import InvalidRequest
from qme.lifecycle import new_record
from qme_submitter.ahead import BESIDE
from qme_submitter.arrays import Arrays, Head, State, States
from qme_submitter.making import BATCH, element
from qme_submitter.process import Submitter

from .conftest import ANN, World, eventually, running, submission
from .test_ahead import leading, perform, worker


# -- pure ------------------------------------------------------------------------------------------------------------
def test_what_can_be_said_of_indices() -> None:
    """Stretches, steps, and how many at once."""
    array = parse("1,3,7-21:7%2")
    assert (array.count, array.throttle) == (5, 2)
    assert [arrays.index_of(array, at) for at in range(5)] == [1, 3, 7, 14, 21]
    assert parse("0-999999").count == 1_000_000


@pytest.mark.parametrize("text", ["", "x", "5-1", "1-3:0", "1-3%0", "1-3%", "-1", "1--3", "0-1000000"])
def test_what_can_not(text: str) -> None:
    """A sentence says why."""
    with pytest.raises(InvalidRequest):
        parse(text)


def test_hostile_descriptions() -> None:
    """More stretches than can be gone through for each task, and brackets in brackets, are the asker's fault."""
    with pytest.raises(InvalidRequest, match="stretches"):
        arrays.checked(Array(ranges=((1, 1, 1),) * 10_001))
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        of_lines(["[" * 100_000], "json")


@given(
    head=st.uuids(version=4).map(str), places=st.sets(st.integers(0, arrays.MAX_ELEMENTS - 1), max_size=50)
)
def test_names_of_elements(head: str, places: set[int]) -> None:
    """They are uuids, tell their array and place, and their last digits are different."""
    names = {at: element_uuid(head, at) for at in places}
    assert all(is_element(name) and place_of(name) == at for at, name in names.items())
    assert all(family(name) == family(head) for name in names.values())
    assert len({name[-8:] for name in names.values()}) == len(names)
    assert sorted(names.values()) == [names[at] for at in sorted(places)]


def test_what_each_task_is_told() -> None:
    """Its index, its line where {} stands and as a variable, its object's variables."""
    spec = TaskSpec(
        uuid="0" * 8 + "-0000-7000-8000-" + "0" * 12, user="ann", argv=("echo", "<{}>"), env={"A": "1"}
    )
    lines = ["one", "zwei und drei"]
    made = element(spec, of_lines(lines, "text"), lines, 1)
    assert made.argv == ("echo", "<zwei und drei>")
    assert made.env == {"A": "1", "QME_ARRAY_INDEX": "2", "QME_LINE": "zwei und drei"}
    objects = [json.dumps({"X": 1, "Y": "a b", "A": [2]})]
    assert element(spec, of_lines(objects, "json"), objects, 0).env == {
        **{"A": "[2]", "X": "1", "Y": "a b", "QME_ARRAY_INDEX": "1"}
    }
    shell = spec.model_copy(update={"shell": True, "argv": ("echo {} $QME_LINE",)})
    assert element(shell, of_lines(lines, "text"), lines, 0).argv == ("echo {} $QME_LINE",)


def test_a_thousand_arrays_of_a_million_tasks_need_no_memory() -> None:
    """One request can describe so many: what nobody has made yet is not kept by its place, and is counted."""
    known, when = Arrays(), datetime.now(UTC)
    tracemalloc.start()
    try:
        for number in range(1000):
            spec = TaskSpec(uuid=str(UUID(int=number)), user="ann", argv=("true",), array=parse("1-1000000"))
            record = new_record(spec, TaskKey("shell", "lab", spec.uuid), when)
            known.note(record, number + 1)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    head = known.head_of(TaskKey("shell", "lab", element_uuid(str(UUID(int=7)), 0)))
    assert head is not None
    head.states.set(5, 2000, State.ACTIVE, 1)
    assert (head.states.of(5), head.states.of(0), head.is_over) == (State.ACTIVE, State.UNMADE, False)
    assert head.has_room(999_999)


def test_lines_that_need_more_than_one_description() -> None:
    """Their indices go on."""
    lines = [f"{number * 0.7390851332 % 1}{number * 0.5671432904 % 1}" for number in range(50_000)]
    pieces = arrays.pieces_of_lines(lines, "text")
    assert len(pieces) > 1
    assert [line for piece in pieces for line in arrays.unpacked(piece)] == lines
    assert [piece.ranges[0][:2] for piece in pieces][1][0] == pieces[0].ranges[0][1] + 1


@pytest.mark.parametrize(
    "array",
    [
        Array(ranges=()),
        Array(ranges=((1, 3, 0),)),
        Array(ranges=((1, 3, 1),), lines="text", packed="!"),
        of_lines(["a", "b"], "text").model_copy(update={"ranges": ((1, 3, 1),)}),
        of_lines(['{"QME_X": 1}'], "text").model_copy(update={"lines": "json"}),
    ],
)
async def test_a_description_that_can_not_be_made_is_refused(world: World, array: Array) -> None:
    """By the submitter, whoever sent it."""
    one = await world.submitter()
    with pytest.raises(InvalidRequest):
        await one.acceptor.accept(submission("true", array=array), "ann")


async def test_nobody_can_take_the_name_of_an_element(world: World) -> None:
    """Else a task could be kept from being made."""
    one = await world.submitter()
    with pytest.raises(InvalidRequest, match="array"):
        await one.acceptor.accept(submission("true", uuid=element_uuid(submission().uuid, 0)), "ann")


# -- made and performed ----------------------------------------------------------------------------------------------
async def submit(one: Submitter, text: str, **said: Any) -> TaskRecord:
    """Submit an array."""
    return await one.acceptor.accept(submission("echo", array=parse(text), group="g", **said), "ann")


async def work(world: World, until: Any, chance: Random | None = None, most: int | None = None) -> list[str]:
    """Perform what is queued until something holds; gives what was performed, in order."""
    done: list[str] = []
    async with asyncio.timeout(60):
        while not await until():
            queue = list(dict.fromkeys(await world.queue()))
            if most is not None:
                active = [uuid for uuid in queue if uuid not in done]
                assert len(active) <= most
            for uuid in queue[: chance.randint(0, 4) if chance else None]:
                if uuid not in done:
                    await perform(world, uuid)
                    done.append(uuid)
            await asyncio.sleep(0.02)
    return done


async def test_all_of_an_array_is_made_and_its_end_tells_of_all(world: World) -> None:
    """One request and one record to begin with; tasks of their own in its group; the head ends last."""
    await worker(world)
    async with leading(world) as one:
        head = await submit(one, "1-150")
        assert head.array is not None
        assert (head.array.count, head.released) == (150, None)
        ended = await head_ended(world, head, work)
    assert (ended.outcome, ended.array) == (
        Outcome.SUCCESS,
        head.array.model_copy(update={"made": 150, "success": 150}),
    )
    records = [await world.record(element_uuid(head.uuid, at)) for at in range(150)]
    assert [record.element.index for record in records if record.element] == list(range(1, 151))
    assert {(record.group, record.outcome, record.attempt) for record in records} == {
        ("g", Outcome.SUCCESS, 1)
    }
    assert len(await world.stored("KV_qme_tasks")) == 151


async def head_ended(world: World, head: TaskRecord, how: Any, **said: Any) -> TaskRecord:
    """Work until the head has ended."""

    async def over() -> bool:
        return (await world.record(head.uuid)).ended

    done = await how(world, over, **said)
    assert len(set(done)) == len(done)
    return await world.record(head.uuid)


async def test_no_more_are_at_work_than_asked_for(world: World) -> None:
    """%3 holds from the release of a task to its end."""
    await worker(world)
    async with leading(world) as one:
        head = await submit(one, "1-20%3")
        ended = await head_ended(world, head, work, most=3)
    assert ended.outcome is Outcome.SUCCESS


async def test_many_arrays_of_one_user_fill_nothing(world: World) -> None:
    """No more of them are made once `queued_max` wait, however many arrays ask for some; another's array is."""
    most = 2 * BATCH
    world.settings = replace(world.settings, queued_max=most)
    async with leading(world) as one:
        for _ in range(8):
            await submit(one, "1-1000000")
        theirs = await one.acceptor.accept(submission("echo", array=parse("1-1000000")), "bob")

        async def made() -> list[int]:
            heads = [found async for found in one.buckets.records.scan()]
            return [
                entry.value.array.made
                for entry in heads
                if isinstance(entry, Entry) and entry.value.array and entry.value.user == "ann"
            ]

        async def enough() -> bool:
            progress = (await world.record(theirs.uuid)).array
            return progress is not None and progress.made >= BATCH and sum(await made()) >= most

        await eventually(enough)
        await asyncio.sleep(0.5)
        # Some are released at once, and wait in the queue instead.
        assert sum(await made()) <= most + BESIDE + BATCH


async def test_tasks_are_made_as_they_are_needed(world: World) -> None:
    """A million of them is one record and the next few; nothing is read or held for the others."""
    await worker(world)
    async with leading(world) as one:
        head = await submit(one, "1-1000000")

        async def made() -> bool:
            progress = (await world.record(head.uuid)).array
            return progress is not None and progress.made >= BATCH

        await eventually(made)
        await asyncio.sleep(0.5)
        assert len(await world.stored("KV_qme_tasks")) <= 4 * BATCH
        await one.changes.cancel(Target(uuid=head.uuid), ANN)

        async def all_ended() -> bool:
            seen = [found async for found in one.buckets.records.scan()]
            return all(entry.value.ended for entry in seen if isinstance(entry, Entry))

        await eventually(all_ended)
        made_by_then = len(await world.stored("KV_qme_tasks"))
        await asyncio.sleep(0.5)
        assert len(await world.stored("KV_qme_tasks")) == made_by_then
    assert (await world.record(head.uuid)).outcome is Outcome.CANCELLED


async def test_one_that_fails_makes_the_array_fail(world: World) -> None:
    """Once all have ended; and it can't be rerun itself, which would run nothing."""
    await worker(world)
    async with leading(world) as one:
        head = await submit(one, "1-5")

        async def queued() -> bool:
            return len(await world.queue()) == 5

        await eventually(queued)
        await one.changes.cancel(Target(uuid=element_uuid(head.uuid, 2)), ANN)
        ended = await head_ended(world, head, work)
        assert (ended.outcome, ended.reason) == (Outcome.FAILED, "1 of 5 did not succeed")
        with pytest.raises(InvalidRequest, match="array"):
            await one.changes.rerun(Target(uuid=head.uuid), ANN)


class Killed(Exception):
    """A submitter is gone."""


class Mortal:
    """A bus whose submitter dies at one of its writes, before or after it."""

    def __init__(self, bus: Any, at: int, *, stored: bool) -> None:
        self._bus = bus
        self._left = at
        self._stored = stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def append(self, *args: Any, **options: Any) -> Any:
        """Write, or die for good."""
        self._left -= 1
        if self._left > 0 or (self._left == 0 and self._stored):
            ack = await self._bus.append(*args, **options)
            if self._left > 0:
                return ack
        raise Killed


@contextlib.asynccontextmanager
async def doomed(world: World, at: int, *, stored: bool) -> AsyncIterator[Submitter]:
    """A submitter that leads until it dies."""
    one = await world.submitter(Mortal(await world.connect("submitter"), at, stored=stored))
    loops = (one.janitor.run(), one.janitor.listen(), one.releasing.run(), one.ahead.run())
    tasks = [asyncio.create_task(loop) for loop in loops]
    yield one
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("at", [20, 140, 200])
@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
async def test_a_submitter_that_dies_anywhere_leaves_an_array_that_is_made_once(
    world: World, at: int, stored: bool
) -> None:
    """Another one goes on where it was: each task is there once, and performed once."""
    await worker(world)
    head = await submit(await world.submitter(), "1-70%30")
    async with doomed(world, at, stored=stored):
        await asyncio.sleep(0.5)
    await world.bus.purge("KV_qme_control", ">")  # its lease would end by itself
    async with leading(world):
        ended = await head_ended(world, head, work)
    assert ended.outcome is Outcome.SUCCESS
    assert len(await world.stored("KV_qme_tasks")) == len(await world.stored("KV_qme_specs")) == 71


async def test_two_that_lead_at_once_make_it_once(world: World) -> None:
    """By mistake, as after a pause: all is create, or compare-and-set."""
    await worker(world)
    one, other = await world.submitter(), await world.submitter()
    head = await submit(one, "1-100")
    loops = [loop for two in (one, other) for loop in (two.janitor.listen(), two.releasing.run())]
    async with running(*loops):
        for two in (one, other):
            await two.janitor.look()
            two.releasing.lead()
        ended = await head_ended(world, head, work)
    assert ended.outcome is Outcome.SUCCESS
    assert len(await world.stored("KV_qme_tasks")) == 101


async def test_an_array_whose_tasks_were_cleared_ends(world: World) -> None:
    """Also where who leads now has never seen them: they had ended, and nobody can tell how."""
    await worker(world)
    async with leading(world) as one:
        head = await submit(one, "1-5")

        async def queued() -> bool:
            return len(await world.queue()) == 5

        await eventually(queued)
        for at in range(2):
            await perform(world, element_uuid(head.uuid, at))
            await one.changes.clear(Target(uuid=element_uuid(head.uuid, at)), ANN)
    await world.bus.purge("KV_qme_control", ">")
    await world.bus.purge("KV_qme_tasks", f"$KV.qme_tasks.shell.default.{element_uuid(head.uuid, 0)}")
    async with leading(world):
        ended = await head_ended(world, head, work)
    assert (ended.outcome, ended.reason) == (Outcome.FAILED, "2 of 5 did not succeed")


async def test_a_task_that_ends_as_it_is_released_leaves_its_place_to_the_next(world: World) -> None:
    """The change may be the very next one of the bus after what was known."""
    record = await submit(await world.submitter(), "1-2%1")
    assert record.array is not None
    head = Head(record.key, record, 1, record.array, States())
    head.states.set(0, 7, State.WAITS, 1)
    head.states.set(0, 7, State.ACTIVE, 1, guess=True)
    assert not head.has_room(1)
    head.states.set(0, 8, State.BAD, 1)  # cancelled meanwhile
    assert head.has_room(1)
    head.states.set(0, 7, State.ACTIVE, 1, guess=True)
    assert head.has_room(1)
