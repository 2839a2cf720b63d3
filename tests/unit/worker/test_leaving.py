"""Workers that are told to stop: what runs is waited for or handed over, and nothing waits for who is not there."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.worker.lab import POOL, FaultyBus, Lab, until

from qme.bus import topology
from qme.bus.kv import Bucket
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import Outcome
from qme.errors import BusUnavailable

#: seconds; messages that nobody gives back come again after the test has failed
LONG = 120.0


async def says_draining(lab: Lab) -> None:
    """Wait until the worker's heartbeat says so."""
    beats = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    key = subjects.heartbeat_key("shell", POOL, lab.spool.worker_id)

    async def look() -> bool:
        entry = await beats.get(key, leader=True)
        return entry is not None and entry.value.paused == "draining"

    await until(look)


def until_told(lab: Lab) -> str:
    """A script that runs until there is a file `go` in the lab's home."""
    return f"until [ -e {lab.home}/go ]; do sleep 0.05; done"


async def test_drain_waits_for_what_runs(lab: Lab) -> None:
    """With `drain`, the first order to stop lets tasks end; nothing new is taken, and the heartbeat tells at once."""
    rare = replace(lab.settings, heartbeat=LONG)
    async with lab.worker(drain=True, settings=rare) as orders:
        key = await lab.submit("sh", "-c", until_told(lab))
        await lab.record(key, lambda record: record.claim is not None)
        orders.give()
        await says_draining(lab)
        other = await lab.submit("true")
        (lab.home / "go").touch()
    assert (await lab.entry(key)).value.outcome is Outcome.SUCCESS
    assert (await lab.entry(other)).value.claim is None


async def test_a_second_order_hurries(lab: Lab) -> None:
    """A worker that drains leaves at the second order; the command lives on, and the next worker takes it up."""
    async with lab.worker(drain=True) as orders:
        key = await lab.submit_marked(f"{until_told(lab)}; echo whole; exit 6")
        await lab.begun(key)
        orders.give()
        await says_draining(lab)
        orders.give()
    assert not (await lab.entry(key)).value.ended
    (lab.home / "go").touch()
    async with lab.worker():
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 6)
    assert await lab.output(key) == b"whole\n"
    assert lab.starts(key) == 1


async def test_what_it_has_not_claimed_goes_back_at_once(lab: Lab) -> None:
    """A message that was handed out and not claimed is another worker's as soon as the first one leaves."""
    await lab.bus.ensure_consumer(topology.consumer("shell", POOL, ack_wait=LONG))
    bus = FaultyBus(lab.server.connect("ann"))
    tries = []

    def refuse(subject: str) -> None:
        if subject.startswith("$KV.qme_tasks"):
            tries.append(subject)
            raise BusUnavailable("no answer")

    bus.before = refuse
    async with lab.worker(bus=bus):
        key = await lab.submit_marked("true")

        async def has_it() -> bool:
            return bool(tries)

        await until(has_it)
    elsewhere = replace(lab.settings, local_dir=lab.home / "local" / "elsewhere")
    async with lab.worker(settings=elsewhere):
        record = await lab.ended(key)
    assert record.outcome is Outcome.SUCCESS
    assert record.worker != lab.spool.worker_id
    assert lab.starts(key) == 1
