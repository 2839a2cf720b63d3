"""A real NATS server that comes back with an older store, or none, under living workers and submitters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.integration.standing import Site, standing
from tests.integration.test_worker_killed import start, stop
from tests.unit.worker.lab import POOL, Lab, until

from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, RetryPolicy, Status
from qme.errors import QmeError

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A bus, set up by a submitter that runs all the time."""
    async with standing(tmp_path) as one:
        yield one


async def test_claims_that_the_bus_forgot(site: Site) -> None:
    """What runs is its worker's again, what ended ends again as it did, and nothing is started a second time."""
    lab = site.lab
    runs, gate = await site.submit_gated()
    quick = await lab.submit_marked("exit 4")
    await site.keep()
    worker = site.worker()
    try:
        await lab.record(quick, lambda record: record.outcome is Outcome.FAILED)
        await lab.running(runs)
        await site.set_back()
        again = await lab.record(runs, lambda record: record.status is Status.RUNNING)
        assert again.claim is not None
        assert (await lab.ended(quick)).data["returncode"] == 4
        gate.touch()
        assert (await lab.ended(runs)).data["returncode"] == 3
        assert (await lab.ended(await lab.submit("true"))).outcome is Outcome.SUCCESS
    finally:
        await stop(worker)
    assert (lab.starts(runs), lab.starts(quick)) == (1, 1)


async def test_another_host_leaves_what_the_bus_forgot(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker would be handed the message, and has no start token: whoever runs the task comes first."""
    lab = site.lab
    runs, gate = await site.submit_gated()
    await site.keep()
    worker = site.worker()
    await lab.running(runs)
    other = Lab(None, lab.bus, lab.home / "other")
    other.home.mkdir()
    monkeypatch.setenv("SETTLE", "15")  # however slow the first one is today
    elsewhere = start(site.server, other, "never")
    try:
        await until(lambda: _living(lab, 2))
        await site.set_back()
        again = await lab.record(runs, lambda record: record.claim)
        assert again.worker == lab.spool.worker_id
        gate.touch()
        await lab.ended(runs)
        await lab.ended(await lab.submit("true"))
    finally:
        await stop(worker)
        await stop(elsewhere)
        await other.clean_up()
    assert lab.starts(runs) == 1


async def _living(lab: Lab, number: int) -> bool:
    every = subjects.bucket_subject(subjects.BUCKET_EXECUTORS, subjects.heartbeat_key("shell", POOL, "*"))
    return len(await lab.bus.subjects(subjects.bucket_stream(subjects.BUCKET_EXECUTORS), every)) == number


async def test_an_end_that_the_bus_forgot(site: Site) -> None:
    """The record says again that it runs, and no message will ever come: its worker tells the end once more."""
    lab = site.lab
    worker = site.worker()
    try:
        runs, gate = await site.submit_gated()
        await lab.running(runs)
        await site.keep()
        gate.touch()
        first = await lab.ended(runs)
        await until(lambda: lab.reported(runs))
        await site.set_back()
        assert (await lab.ended(runs)).finished == first.finished
    finally:
        await stop(worker)
    assert lab.starts(runs) == 1


async def test_a_retry_that_the_bus_forgot(site: Site) -> None:
    """Both attempts are known to the worker's spool: neither is started again, and the second one's end stands."""
    lab = site.lab
    key = await lab.submit_marked("exit 4", retry=RetryPolicy(limit=1, delay=0.2))
    await site.keep()
    worker = site.worker()
    try:
        await lab.ended(key)
        await site.set_back()
        record = await lab.ended(key)
    finally:
        await stop(worker)
    assert (record.attempt, record.outcome, record.data["returncode"]) == (2, Outcome.FAILED, 4)
    assert [line.returncode for line in record.attempts] == [4]
    assert lab.starts(key) == 2


async def test_a_bus_that_was_made_anew(site: Site) -> None:
    """It has forgotten its tasks, and what runs ends unseen; new ones are taken and run as before."""
    lab = site.lab
    worker = site.worker()
    try:
        runs, gate = await site.submit_gated()
        await lab.running(runs)
        await site.set_back()
        key = await until(lambda: _submitted(lab))
        assert (await lab.ended(key)).outcome is Outcome.SUCCESS
        gate.touch()
        await until(lambda: lab.reported(runs))
        assert await site.record(runs) is None
    finally:
        await stop(worker)
    assert lab.starts(runs) == 1


async def _submitted(lab: Lab) -> TaskKey | None:
    try:
        return await lab.submit("true")
    except QmeError:  # until the submitter has set the bus up again
        return None
