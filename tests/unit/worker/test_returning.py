"""Workers that come back to what was given up for lost, or to a bus that has forgotten them: nothing starts twice."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.worker.lab import USER, FaultyBus, Lab, now, once, until

from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, RetryPolicy, Status
from qme.errors import BusUnavailable, QmeError
from qme.executor.base import Result, Task
from qme.executor.processes import boot_id
from qme.lifecycle import Claimed, Ended, Event, Rerun, Returned, Vanished
from qme.observe.metrics import WorkerMetrics
from qme.worker.ending import NEVER_STARTED
from qme.worker.records import Records
from qme_executor_shell import ShellExecutor, ShellSettings


async def test_lost_by_silence_is_corrected(lab: Lab) -> None:
    """What was given up for lost while its worker was away is corrected by what really happened."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.5; exit 4")
        await lab.begun(key)
    await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
    async with lab.worker():
        record = await lab.record(key, lambda record: record.outcome not in (None, Outcome.LOST))
    assert record.corrected
    assert (record.status, record.outcome, record.data["returncode"]) == (Status.COMPLETE, Outcome.FAILED, 4)
    assert lab.starts(key) == 1


async def test_lost_and_run_again_elsewhere(lab: Lab) -> None:
    """The report on an attempt that was given up corrects its line in the history and nothing else."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.5; exit 4")
        await lab.begun(key)
    await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
    await lab.change(key, Rerun(USER, now(), force=True))
    async with lab.worker():
        record = await lab.record(key, lambda record: record.attempts[0].outcome is not Outcome.LOST)
    (line,) = record.attempts
    assert (line.outcome, line.returncode) == (Outcome.FAILED, 4)
    assert (record.attempt, record.status) == (2, Status.QUEUED)


@pytest.mark.parametrize("folder", [True, False])
async def test_lost_before_it_was_started(lab: Lab, folder: bool) -> None:
    """What was given up for lost before its start token is never started: its worker says so, and that is proof."""
    key = await lab.submit_marked("true")
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    if folder:
        lab.spool.attempt(key.uuid, 1).create()
    await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
    async with lab.worker():
        record = await lab.record(key, lambda record: not record.provisional)
    assert (record.outcome, record.reason) == (Outcome.LOST, NEVER_STARTED)
    assert lab.starts(key) == 0


async def test_a_worker_that_slept_asks_again(lab: Lab) -> None:
    """Half a lease after the claim the record is read again: what is not ours any more is not started."""
    dropped: list[bool] = []

    class Sleeper(ShellExecutor):
        async def execute(self, task: Task) -> Result:
            await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
            await asyncio.sleep(0.4)
            try:
                return await super().execute(task)
            except QmeError:
                dropped.append(not task.started)
                raise

    async with lab.worker(
        Sleeper(ShellSettings()), settings=replace(lab.settings, lease=0.6, heartbeat=30.0)
    ):
        key = await lab.submit_marked("true")
        await until(lambda: _filled(dropped))
        record = await lab.record(key, lambda record: record.outcome and not record.provisional)
    assert (record.outcome, record.reason) == (Outcome.LOST, NEVER_STARTED)
    assert lab.starts(key) == 0
    assert dropped == [True]


async def _filled(found: list[bool]) -> bool:
    return bool(found)


@pytest.mark.parametrize("again", [False, True])
async def test_the_bus_forgot_the_claim(lab: Lab, again: bool) -> None:
    """After a roll-back of the bus the start token refuses a second start; the end is written all the same."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 1")
        entry = await lab.entry(key)
        await lab.begun(key)
        forgotten = await lab.entry(key)
        await lab.records.update(str(key), entry.value.model_copy(update={"claim": None}), forgotten.revision)
        if again:
            await lab.enqueue(key)
        record = await lab.ended(key)
    assert record.outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1


async def test_the_bus_forgot_the_claim_while_nobody_was_there(lab: Lab) -> None:
    """The worker claims again what it has started."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 0.7")
        await lab.begun(key)
    entry = await lab.entry(key)
    await lab.records.update(
        str(key), entry.value.model_copy(update={"claim": None, "data": {}}), entry.revision
    )
    async with lab.worker():
        record = await lab.ended(key)
    assert record.outcome is Outcome.SUCCESS
    assert lab.starts(key) == 1


async def test_a_worker_that_was_cut_off_takes_its_task_back(lab: Lab) -> None:
    """It lived all the time: with its next heartbeat the task runs again, and ends once, as it ended."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 2; exit 4")
        await lab.running(key)
        await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
        back = await lab.record(key, lambda record: not record.ended)
        assert back.claim is not None
        assert (back.status, back.claim.worker, back.corrected) == (Status.RUNNING, lab.spool.worker_id, True)
        assert back.data["pid"] > 0
        record = await lab.ended(key)
    assert (record.outcome, record.corrected, record.attempt) == (Outcome.FAILED, True, 1)
    assert lab.starts(key) == 1


async def test_the_proof_releases_the_retry(lab: Lab) -> None:
    """Lost by silence waits; told by its worker that it never ran, the next attempt follows."""
    key = await lab.submit("true", retry=RetryPolicy(limit=1, delay=60.0))
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    lost = await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
    assert lost.attempt == 1
    async with lab.worker():
        record = await lab.record(key, lambda record: record.attempt == 2)
    assert record.not_before is not None
    assert record.attempts[0].reason == NEVER_STARTED


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("boot", "why"),
    [
        ("another", "the host was restarted while the command ran"),
        (boot_id(), "the keeper died before the command ended: its exit status is unknown"),
    ],
)
async def test_evidence_of_its_host_is_final(lab: Lab, boot: str, why: str, silent: bool) -> None:
    """Restarted since, or the process gone without an exit record: lost, no guess, and the retry follows at once."""
    key = await lab.submit("true", retry=RetryPolicy(limit=1, delay=60.0))
    await lab.change(key, Claimed(lab.spool.worker_id, "n", 1, now()))
    folder = lab.spool.attempt(key.uuid, 1)
    folder.create()
    lines = ({"boot_id": boot, "started": 1.0}, {"pid": 2**22 + 1, "start_time": 1})
    folder.start.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if silent:
        await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
    async with lab.worker():
        record = await lab.record(key, lambda record: record.attempt == 2)
    assert [(line.outcome, line.reason) for line in record.attempts] == [(Outcome.LOST, why)]
    assert record.corrected == silent


async def test_cancelled_while_it_seemed_lost(lab: Lab) -> None:
    """The wish is kept, and its worker fulfils it."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 60")
        await lab.begun(key)
    await lab.change(key, Vanished(1, lab.spool.worker_id, now(), "silent"))
    with pytest.raises(Exception, match=r"."):
        await lab.cancel(key)  # the nudge finds nobody
    async with lab.worker():
        record = await lab.record(key, lambda record: record.outcome is Outcome.CANCELLED)
    assert record.data["returncode"] == 143


async def test_a_forgotten_claim_is_made_again_while_it_runs(lab: Lab) -> None:
    """The worker says what it holds with its next heartbeat: nobody else may take the task for a waiting one."""
    async with lab.worker():
        key = await lab.submit_marked("sleep 2")
        claimed = await lab.running(key)
        entry = await lab.entry(key)
        forgotten = claimed.model_copy(
            update={"claim": None, "status": Status.QUEUED, "started": None, "data": {}}
        )
        await lab.records.update(str(key), forgotten, entry.revision)
        record = await lab.record(key, lambda record: record.claim)
        assert (record.status, record.worker) == (Status.RUNNING, lab.spool.worker_id)
        assert record.claim is not None
        assert (record.claim.host, record.claim.boot) == (lab.settings.host, boot_id())
        assert (record.data["pid"], record.started) == (claimed.data["pid"], record.started)
        await lab.ended(key)
    assert lab.starts(key) == 1


async def test_an_end_that_the_bus_forgot_beside_a_claim_that_it_forgot(lab: Lab) -> None:
    """The claim is made again at once; that write is none from before the bus was set back, and hides nothing."""
    gate = lab.home / "gate"
    async with lab.worker():
        ends = await lab.submit_marked(f"until [ -e {gate} ]; do sleep 0.02; done; exit 4")
        await lab.running(ends)
        runs = await lab.submit_marked("sleep 60", queued=False)
        store = copy.deepcopy(lab.server.streams)
        await lab.enqueue(runs)
        await lab.running(runs)
        gate.touch()
        await lab.ended(ends)
        await until(lambda: lab.reported(ends))
        lab.server.streams.update(store)
        lab.server.interrupt()
        assert (await lab.ended(ends)).data["returncode"] == 4
        await lab.record(runs, lambda record: record.claim)
    assert (lab.starts(ends), lab.starts(runs)) == (1, 1)


async def test_a_claim_under_way_waits_as_a_new_one_does(lab: Lab) -> None:
    """The bus may have been set back meanwhile, and have forgotten that another worker has claimed the task."""
    bus = FaultyBus(lab.server.connect(USER))
    fault = once("$KV.qme_tasks.")
    interrupted: list[datetime] = []

    def interrupt(subject: str) -> None:
        try:
            fault(subject)
        except BusUnavailable:
            lab.server.interrupt()
            interrupted.append(now())
            raise

    bus.before = interrupt
    async with lab.worker(bus=bus, settings=replace(lab.settings, settle=2.0)):
        record = await lab.ended(await lab.submit_marked("true"))
    assert record.started is not None
    assert record.started >= interrupted[0] + timedelta(seconds=2)
    assert lab.starts(record.key) == 1


async def test_a_correction_is_counted_once(lab: Lab) -> None:
    """By whoever takes the `lost` back; the end that follows is no other one, and a proof is no correction."""
    registry = CollectorRegistry()
    records = Records(lab.bus, "w", WorkerMetrics(registry, "shell", 1))

    async def told(key: TaskKey, *events: Event) -> float | None:
        await lab.change(key, Claimed("w", "n", 1, now()))
        await lab.change(key, Vanished(1, "w", now(), "silent"))
        for event in events:
            await records.apply(key, await lab.entry(key), event)
        return registry.get_sample_value("qme_worker_tasks_corrected_total", {"executor": "shell"})

    proof = Ended(1, Outcome.LOST, now())
    assert await told(await lab.submit("true"), proof) == 0.0
    back, end = Returned("w", "m", 1, now()), Ended(1, Outcome.SUCCESS, now())
    assert await told(await lab.submit("true"), back, end) == 1.0
    assert await told(await lab.submit("true"), end) == 2.0
