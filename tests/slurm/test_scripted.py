"""What a real Slurm can't be made to do on demand: accounts that lag or are closed, sites that decorate an answer,
a controller that takes a job and says nothing, a number that is given again. The real executor, with programs on PATH
that behave so (`fake_slurm`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.slurm.scripted import Scripted
from tests.unit.worker.lab import USER, Lab, until

from qme.bus.memory import MemoryServer
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Status, TaskRecord
from qme_executor_slurm import SlurmExecutor, SlurmSettings

QUICK: dict[str, float] = {
    "retry_first": 0.5,
    "lookup_span": 0.5,
    "poll_first": 0.2,
    "poll_floor": 0.1,
    "poll_longest": 0.3,
    "poll_backoff": 0.5,
    "output_first": 0.1,
    "output_longest": 0.2,
}

#: tasks that meet a limit
MANY = 6
PLUG_IN = "your budget is used up\nsbatch: error: Batch job submission failed: Unspecified error"
LIMIT = (
    "QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)

Site = Callable[..., Scripted]
#: a worker with other settings than `QUICK`
Working = Callable[..., AbstractAsyncContextManager[object]]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Lay out a Slurm that behaves as asked, first on PATH."""

    def make(**how: Any) -> Scripted:
        slurm = Scripted(tmp_path / "site", **how)
        monkeypatch.setenv("PATH", str(slurm.bin), prepend=":")
        return slurm

    return make


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A bus with a pool for Slurm tasks."""
    server = MemoryServer()
    bus = server.connect(USER)
    lab = Lab(server, bus, tmp_path, "slurm")
    await lab.set_up()
    yield lab
    await lab.clean_up()
    await bus.close()


@pytest.fixture
def working(lab: Lab) -> Working:
    """Have a worker."""

    @asynccontextmanager
    async def work(**settings: float) -> AsyncIterator[None]:
        executor = SlurmExecutor(SlurmSettings(**{**QUICK, **settings}))  # type: ignore[arg-type]
        async with lab.worker(executor):
            yield

    return work


async def submit(lab: Lab) -> TaskKey:
    """Submit an sbatch."""
    return await lab.submit("sbatch", "--wrap", "echo hi", cwd=str(lab.home))


async def ended(lab: Lab, working: Working, **settings: float) -> tuple[TaskKey, TaskRecord]:
    """Submit an sbatch and wait for its end."""
    key = await submit(lab)
    async with working(**settings):
        return key, await lab.ended(key)


async def asked(slurm: Scripted, program: str, times: int) -> None:
    """Wait until a program was called so often."""

    async def look() -> bool:
        return slurm.called(program) >= times

    await until(look)


async def one_succeeded(lab: Lab, keys: list[TaskKey]) -> bool:
    """One of some tasks has ended well."""
    return Outcome.SUCCESS in [(await lab.entry(key)).value.outcome for key in keys]


ANSWERS = {
    "banner before and after": "*** Welcome; 2 jobs of yours run ***\n\n{job}\nYour account is charged 12 units",
    "spoken by a wrapper": "Checking the budget ... ok\nSubmitted batch job {job}\n",
    "a number besides, before": "12\n{job}\n",
    "a number besides, after": "{job}\n12\n",
    "swallowed": "submitted, have a nice day\n",
}


@pytest.mark.parametrize("stdout", ANSWERS.values(), ids=ANSWERS)
async def test_a_decorated_answer(site: Site, lab: Lab, working: Working, stdout: str):
    """The job is known by what sbatch said, or by its marker where that leaves a doubt; there is no second one."""
    slurm = site(stdout=stdout, stderr="sbatch: INFO: your quota is fine\n", exit=3)
    key, record = await ended(lab, working)
    assert (record.outcome, record.data["returncode"], record.data["jobid"]) == (Outcome.FAILED, 3, "7")
    assert await lab.output(key) == b"hi\n"
    assert slurm.called("sbatch") == 1


async def test_taken_and_timed_out(site: Site, lab: Lab, working: Working):
    """Its sbatch failed, and its job runs: it is found by its marker."""
    slurm = site(sbatch=["takes it, times out"])
    _, record = await ended(lab, working)
    assert (record.outcome, record.data["jobid"]) == (Outcome.SUCCESS, "7")
    assert (slurm.called("sbatch"), len(slurm.jobs())) == (1, 1)


async def test_not_taken_and_timed_out(site: Site, lab: Lab, working: Working):
    """The same words, and there is no job: only after two looks is sbatch called again."""
    slurm = site(sbatch=["takes none, times out"])
    _, record = await ended(lab, working)
    assert record.outcome is Outcome.SUCCESS
    assert (slurm.called("sbatch"), len(slurm.jobs())) == (2, 1)
    assert slurm.called("sacct") >= 2


async def test_a_sites_own_refusal(site: Site, lab: Lab, working: Working):
    """What is not known to be a refusal is one when it is said again, and there was surely no job both times."""
    slurm = site(sbatch_fails=PLUG_IN)
    _, record = await ended(lab, working)
    assert (record.outcome, record.data["returncode"]) == (Outcome.SUBMIT_FAILED, 1)
    assert record.reason == "your budget is used up; Batch job submission failed: Unspecified error"
    assert (slurm.called("sbatch"), len(slurm.jobs())) == (2, 0)


async def test_many_that_meet_a_limit(site: Site, lab: Lab, working: Working):
    """Together they ask once a second, however quick each of them alone would be, until there is room."""
    slurm = site(sbatch_fails=LIMIT, runs=0.1)
    keys = [await submit(lab) for _ in range(MANY)]
    begin = time.monotonic()
    async with working(retry_first=0.1, retry_longest=0.1):
        await asked(slurm, "sbatch", MANY)
        await asyncio.sleep(2.0)
        assert slurm.called("sbatch") <= MANY + 2 * (time.monotonic() - begin)
        assert slurm.jobs() == {}
        for key in keys:
            await lab.record(key, lambda record: "QOSMaxSubmitJobPerUserLimit" in (record.reason or ""))
        slurm.behave(runs=0.1)
        assert await until(lambda: one_succeeded(lab, keys))


async def test_room_again_after_a_limit(site: Site, lab: Lab, working: Working):
    """The first job that Slurm takes brings the others on, long before their pauses are over."""
    slurm = site(sbatch_fails=LIMIT)
    keys = [await submit(lab) for _ in range(MANY)]
    async with working(retry_first=3600.0, retry_longest=3600.0):
        for key in keys:
            await lab.record(key, lambda record: "QOSMaxSubmitJobPerUserLimit" in (record.reason or ""))
        slurm.behave(runs=0.1)
        keys.append(await submit(lab))
        records = [await lab.ended(key) for key in keys]
    assert [record.outcome for record in records] == [Outcome.SUCCESS] * (MANY + 1)
    assert slurm.called("sbatch") == MANY + MANY + 1


@pytest.mark.parametrize("meanwhile", [False, True], ids=["nothing", "as running"])
async def test_accounts_that_lag(site: Site, lab: Lab, working: Working, *, meanwhile: bool):
    """The controller has forgotten the job, and accounting does not know its end yet: that is no end."""
    slurm = site(squeue_forgets_after=0, sacct_lags=3600, sacct_shows_meanwhile=meanwhile, exit=4)
    key = await submit(lab)
    async with working(young=0.0):
        await lab.record(key, lambda record: record.status is Status.RUNNING)
        await asked(slurm, "sacct", 4)
        assert not (await lab.entry(key)).value.ended
        slurm.behave(squeue_forgets_after=0, exit=4)
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 4)
    assert slurm.called("sbatch") == 1


CLOSED = "Slurm accounting storage is closed to you: Access/permission denied"


async def test_closed_accounts(site: Site, lab: Lab, working: Working):
    """The controller tells endings too."""
    slurm = site(sacct_fails=CLOSED, exit=5)
    _, record = await ended(lab, working)
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 5)
    assert slurm.called("sbatch") == 1


async def test_closed_accounts_and_a_controller_that_forgets(site: Site, lab: Lab, working: Working):
    """Nobody tells the ending any more: that is said after a day (here: seconds), and never called a success."""
    slurm = site(sacct_fails=CLOSED, squeue_forgets_after=0)
    _, record = await ended(lab, working, settle=1.0, young=0.0)
    assert (record.outcome, record.reason) == (Outcome.LOST, "lost: accounting did not answer")
    assert slurm.called("sbatch") == 1


async def test_a_number_that_is_given_again(site: Site, lab: Lab, working: Working):
    """A controller that lost its state gave the job's number to another one: that one's end is not ours, nor is it
    ended by a cancel of ours.
    """
    slurm = site(runs=3600)
    key = await submit(lab)
    async with working(lost_after=3600.0):
        await lab.record(key, lambda record: record.status is Status.RUNNING)
        slurm.replace(7, comment="qme:another:1", line="sbatch --comment=qme:another:1 --parsable x", exit=9)
        await lab.cancel(key)
        before = slurm.called("squeue")
        await asked(slurm, "squeue", before + 4)
        slurm.replace(7, runs=0.1)
        await asked(slurm, "squeue", before + 7)
        record = (await lab.entry(key)).value
    assert not record.ended
    assert slurm.called("scancel") == 0
    async with working(lost_after=0.0, young=0.0):
        record = await lab.ended(key)
    assert (record.outcome, record.reason) == (Outcome.LOST, "lost: neither squeue nor sacct knows it")
    assert slurm.called("sbatch") == 1


async def test_an_end_that_comes_while_the_output_is_looked_for(site: Site, lab: Lab, working: Working):
    """It wakes the task: nothing else would, as the job has no news any more."""
    slurm = site(scontrol=[0, 2.0], runs=0.5)
    key, record = await ended(lab, working)
    assert record.outcome is Outcome.SUCCESS
    assert await lab.output(key) == b"hi\n"
    assert slurm.called("scontrol -a show job") == 2
