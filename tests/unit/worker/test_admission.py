"""Tasks that ask for resources, on real workers with real commands: what runs beside what, by the commands' clocks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.worker.lab import USER, Lab, now, until

from qme.contracts.resources import Capacity, Resources
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status, TaskRecord
from qme.executor.commands import Keeper
from qme.lifecycle import CancelAsked, Claimed
from qme.worker import admission
from qme.worker.verdict import over
from qme_executor_shell import ShellExecutor, ShellSettings

MIB = 1 << 20


def shell(slots: int = 8, **has: Any) -> ShellExecutor:
    """A shell executor on a host of our own making."""
    return ShellExecutor(ShellSettings(slots=slots, **{"cpus": 4, "mem": 1 << 40, "gpus": "none", **has}))


async def timed(lab: Lab, seconds: float = 0.3, **asked: Any) -> TaskKey:
    """Submit a command that writes down when it begins and ends, by the clock of the kernel."""
    clock = "cut -d' ' -f1 /proc/uptime"
    resources = Resources(**asked) if asked else None
    return await lab.submit_marked(f"{clock} >&1; sleep {seconds}; {clock}", resources=resources)


async def span(lab: Lab, key: TaskKey) -> tuple[float, float]:
    """When a command ran; it must have been started once."""
    await lab.ended(key)
    assert lab.starts(key) == 1
    begin, end = (await lab.output(key)).split()
    return float(begin), float(end)


def busiest(spans: dict[TaskKey, tuple[float, float]], weights: dict[TaskKey, int]) -> int:
    """Give the largest sum of weights at any moment."""
    moments = [begin for begin, _ in spans.values()]
    return max(
        sum(weights[key] for key, (begin, end) in spans.items() if begin <= at < end) for at in moments
    )


async def test_never_more_than_there_is(lab: Lab) -> None:
    """Twelve tasks of one to three cpus on a worker of four: the commands' own clocks show what ran at once."""
    weights = {await timed(lab, cpus=1 + number % 3): 1 + number % 3 for number in range(12)}
    async with lab.worker(shell()):
        spans = {key: await span(lab, key) for key in weights}
    assert 3 <= busiest(spans, weights) <= 4
    assert await until(lambda: empty(lab))


async def empty(lab: Lab) -> bool:
    """The queue has nothing left."""
    return await lab.queued() == 0


async def test_a_big_task_is_not_starved_by_small_ones(lab: Lab) -> None:
    """Small ones keep coming, and would fit; the one that needs the whole worker begins before most of them."""
    # Never do all four cpus become free at once, if small ones are let in.
    early = [await timed(lab, 0.3 + 0.2 * number, cpus=1) for number in range(4)]
    big = await timed(lab, cpus=4)
    late = [await timed(lab, 0.3 + 0.2 * (number % 4), cpus=1) for number in range(16)]
    async with lab.worker(shell()):
        began, _ = await span(lab, big)
        spans = {key: await span(lab, key) for key in (*early, *late)}
    passed = [key for key in late if spans[key][0] < began]
    # The message of the big one went back once, for others to take: what came in its place may have begun.
    assert len(passed) <= 4
    assert not [key for key, (begin, end) in spans.items() if begin < began + 0.25 < end]


async def test_exclusive_runs_alone(lab: Lab) -> None:
    """Beside nothing, be it a task that asks for nothing."""
    async with lab.worker(shell()):
        keys = [await timed(lab), await timed(lab, exclusive=True), await timed(lab), await timed(lab)]
        spans = [await span(lab, key) for key in keys]
    begin, end = spans.pop(1)
    assert all(other_end <= begin or end <= other_begin for other_begin, other_end in spans)


async def test_devices_go_to_one_task_each(lab: Lab) -> None:
    """CUDA_VISIBLE_DEVICES names what was given; the record tells it too."""
    script = "echo $CUDA_VISIBLE_DEVICES $QME_CPUS; sleep 0.3"
    async with lab.worker(shell(gpus="GPU-a,GPU-b")):
        asked = Resources(gpus=1, cpus=1)
        env = {"CUDA_VISIBLE_DEVICES": "all"}
        keys = [await lab.submit_marked(script, resources=asked, env=env) for _ in range(4)]
        records = [await lab.ended(key) for key in keys]
    said = [record.data["output"][0].split() for record in records]
    assert [len(record.data["gpus"]) for record in records] == [1, 1, 1, 1]
    assert sorted(said[:2]) == [["GPU-a", "1"], ["GPU-b", "1"]]
    assert {name for name, _ in said} == {"GPU-a", "GPU-b"}


async def test_a_task_that_can_never_run_says_so(lab: Lab) -> None:
    """The reason stands in its record, nobody else is held up, and a larger worker takes it at once."""
    async with lab.worker(shell()):
        big = await timed(lab, 0, cpus=16)
        waiting = await lab.record(big, lambda record: record.reason)
        assert waiting.status is Status.QUEUED
        assert waiting.claim is None
        assert "it asks for 16 cpus, and no living worker has that; there is 4 cpus" in str(waiting.reason)
        await span(lab, await timed(lab, 0, cpus=4))
    async with lab.worker(shell(cpus=16)):
        ended = await lab.ended(big)
    assert (ended.outcome, ended.reason) == (Outcome.SUCCESS, None)


async def test_what_it_waits_for_can_be_cancelled(lab: Lab) -> None:
    """A task whose message is kept is not begun later, and what was set aside for it is others' at once."""
    async with lab.worker(shell()):
        running = await lab.submit_marked("sleep 30", resources=Resources(cpus=2))
        await lab.running(running)
        kept = await timed(lab, cpus=4)
        await asyncio.sleep(0.5)
        small = await timed(lab, 0, cpus=1)
        await lab.change(kept, CancelAsked(USER, now()))
        await span(lab, small)
        await lab.cancel(running)
    assert lab.starts(kept) == 0


async def test_who_leaves_gives_back_what_it_keeps(lab: Lab) -> None:
    """Another worker of the pool has it at once, not when a time is over."""
    async with lab.worker(shell(), drain=True) as orders:
        running = await lab.submit_marked("sleep 2", resources=Resources(cpus=4))
        await lab.running(running)
        kept = await timed(lab, cpus=1)
        await asyncio.sleep(0.5)
        orders.stop.set()
        await lab.ended(running)
    assert lab.starts(kept) == 0
    async with lab.worker(shell()):
        await span(lab, kept)


async def test_a_message_that_is_kept_is_not_handed_out_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than the bus waits for an answer, signs of life keep it where it is."""
    monkeypatch.setattr(admission, "SIGN", 0.4)  # the lab's consumer waits two seconds
    async with lab.worker(shell()):
        running = await lab.submit_marked("sleep 3", resources=Resources(cpus=4))
        await lab.running(running)
        kept = await timed(lab, 0, cpus=1)
        ended = (await lab.ended(running)).finished
        assert ended is not None
        await span(lab, kept)
        record = (await lab.entry(kept)).value
        assert record.started is not None
        assert (record.started - ended).total_seconds() < 1.0


async def test_what_was_taken_up_again_counts(lab: Lab, tmp_path: Path) -> None:
    """A worker that starts on the spool of another one gives nobody the cpus and devices that are in use."""
    gate = tmp_path / "gate"
    script = f"echo $CUDA_VISIBLE_DEVICES; until [ -e {gate} ]; do sleep 0.05; done"
    async with lab.worker(shell(gpus="0,1")):
        first = tmp_path / "first"
        brief = await lab.submit_marked(
            f"until [ -e {first} ]; do sleep 0.05; done", resources=Resources(gpus=1)
        )
        await lab.running(brief)
        old = await lab.submit_marked(script, resources=Resources(cpus=3, gpus=1))
        claimed = await lab.running(old)
        assert claimed.claim is not None
        assert claimed.claim.gpus == ("1",)
        first.touch()
        await lab.ended(brief)
    async with lab.worker(shell(gpus="0,1")):
        fits = await lab.submit_marked(script, resources=Resources(cpus=1, gpus=1))
        await lab.running(fits)
        blocked = await timed(lab, 0, cpus=2)
        await asyncio.sleep(1.0)
        assert lab.starts(blocked) == 0
        gate.touch()
        await span(lab, blocked)
        assert [(await lab.ended(key)).data["output"] for key in (old, fits)] == [["1\n"], ["0\n"]]


async def test_a_claim_that_does_not_fit_any_more_is_ended_with_the_reason(lab: Lab) -> None:
    """The worker was killed before it started it, and has less now: others are not kept waiting behind it for ever."""
    big = await lab.submit_marked("true", resources=Resources(cpus=8))
    await lab.change(big, Claimed(lab.spool.worker_id, "n", 1, now()))
    async with lab.worker(shell(cpus=4)):
        small = await timed(lab, 0, cpus=1)
        await span(lab, small)
        record: TaskRecord = await lab.ended(big)
    assert (record.outcome, record.reason) == (
        Outcome.SUBMIT_FAILED,
        "this worker has been started again with less than the 8 cpus it asks for",
    )
    assert lab.starts(big) == 0


async def test_a_claim_that_waits_for_room_can_be_cancelled(lab: Lab, tmp_path: Path) -> None:
    """It was claimed by the process before, and what it asks for is in use: it need not come free first."""
    gate = tmp_path / "gate"
    async with lab.worker(shell()):
        old = await lab.submit_marked(
            f"until [ -e {gate} ]; do sleep 0.05; done", resources=Resources(cpus=4)
        )
        await lab.running(old)
    waits = await lab.submit_marked("true", resources=Resources(cpus=4))
    await lab.change(waits, Claimed(lab.spool.worker_id, "n", 1, now()))
    async with lab.worker(shell()):
        await asyncio.sleep(0.5)
        await lab.cancel(waits)
        record: TaskRecord = await lab.ended(waits)
        assert record.outcome is Outcome.CANCELLED
        assert not (await lab.entry(old)).value.ended
        gate.touch()
        await lab.ended(old)
    assert lab.starts(waits) == 0


async def test_too_much_memory_ends_the_whole_tree(lab: Lab) -> None:
    """What all of its processes use together counts; both figures are told."""
    hold = "python3 -c 'import time; b = bytearray(40 << 20); time.sleep(60)'"
    async with lab.worker(shell()):
        record: TaskRecord = await lab.ended(
            await lab.submit_marked(f"{hold} & {hold} & {hold}", resources=Resources(mem=100 * MIB))
        )
    assert record.outcome is Outcome.OUT_OF_MEMORY
    assert record.reason is not None
    used = float(record.reason.split()[2])
    assert 100 < used < 250
    assert record.reason.endswith("MiB of memory, more than the 100 MiB that it asked for")


async def test_too_much_memory_while_the_worker_was_replaced(lab: Lab) -> None:
    """The process that began to end it is gone; the next one words the end, and waits for nothing that is over."""
    async with lab.worker(shell()):
        key = await lab.submit_marked("sleep 60", resources=Resources(mem=100 * MIB))
        await lab.running(key)
    keeper = Keeper(lab.spool)
    await keeper.connect()
    await keeper.end(key.uuid, 1, 0.5, over(200 * MIB, 100 * MIB))
    await keeper.close()
    async with lab.worker(shell()):
        record: TaskRecord = await lab.ended(key)
    assert record.outcome is Outcome.OUT_OF_MEMORY


async def test_memory_within_the_limit_is_no_matter(lab: Lab) -> None:
    """A tree that shares most of what it has is not counted as often as it has processes."""
    fork = "import os,time; b = bytearray(60 << 20); [os.fork() for _ in range(2)]; time.sleep(2)"
    async with lab.worker(shell()):
        key = await lab.submit("python3", "-c", fork, resources=Resources(mem=150 * MIB))
        record = await lab.ended(key)
    assert record.outcome is Outcome.SUCCESS


async def test_the_worker_says_what_it_has(lab: Lab) -> None:
    """In each heartbeat; submitters and `qme run` go by that."""
    from qme.client.executors import heartbeats

    async with lab.worker(shell(mem=5 * MIB, gpus="3")):
        beats = await until(lambda: heartbeats(lab.bus))
    assert [beat.capacity for beat in beats] == [Capacity(cpus=4, mem=5 * MIB, gpus=1)]
