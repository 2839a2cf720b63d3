"""The Slurm executor: a task is one sbatch, its job's fate is the task's. Wires the parts and decides little itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from qme.contracts.tasks import Outcome, Status
from qme.executor import Check, Executor, Held, Result, Task
from qme.observe.logging import get_logger
from qme.settings.table import account
from qme_executor_slurm import checks, exports, history
from qme_executor_slurm.actions import SlurmActions
from qme_executor_slurm.cancelling import Cancelling
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.inheriting import inherit
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.journal import Journal, Submitted
from qme_executor_slurm.locating import locate
from qme_executor_slurm.metrics import SlurmMetrics
from qme_executor_slurm.poller import Poller, Watch
from qme_executor_slurm.settings import SlurmSettings
from qme_executor_slurm.states import Ending
from qme_executor_slurm.submitting import Submitter

log = get_logger(__name__)

#: name of the journal in the attempt's folder
JOURNAL = "sbatch.journal"
#: as a shell's `timeout` says it
_TIMED_OUT = 124


class Following:
    """One task on its way."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.job: Submitted | None = None
        self.states: history.States = []


class SlurmExecutor(SlurmActions, Executor[SlurmSettings]):
    """Submits to Slurm, and follows the jobs."""

    name = "slurm"
    matchstring = r"^(\S*/)?sbatch(\s|$)"
    version = "1"
    begins = Status.QUEUED
    lost_by_silence = False
    taken_over = True
    script = "sbatch"
    fields = ("jobid", "slurm_state", "slurm_reason", "partition", "nodes", "returncode", "outputfile")
    settings_type = SlurmSettings

    def __init__(self, settings: SlurmSettings) -> None:
        super().__init__(settings)
        self.metrics = SlurmMetrics()
        self.slurm = Slurm(settings.command_timeout, os.getuid(), self.metrics)
        self.cancelling = Cancelling(self.slurm)
        self._poller = Poller(self.slurm, settings.limits(), settings.rules())
        self._submitter = Submitter(settings, self.slurm, self._poller)
        self._under_way: dict[tuple[str, int], Following] = {}
        self._polling: asyncio.Task[None] | None = None

    def measure(self, registry: CollectorRegistry) -> None:
        """Show ``qme_slurm_*``."""
        self.metrics.register(registry)

    async def open(self) -> None:
        """Be ready to follow; Slurm is asked nothing while there is no job."""
        self._polling = asyncio.create_task(self._poller.run())

    async def close(self) -> None:
        """Follow no more; the jobs go on, the next worker takes them up."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def checks(self) -> Sequence[Check]:
        """Look at Slurm from here."""
        return await checks.look(self.settings)

    async def execute(self, task: Task) -> Result:
        """Submit the task's job, unless that was done before, and follow it to its end."""
        which = (task.spec.uuid, task.number)
        following = self._under_way[which] = Following()
        try:
            journal = Journal(task.directory / JOURNAL)
            if journal.untouched:
                inherit(task, journal)
            resumed = journal.submitted is not None
            await task.update(
                user=account(),
                timestamp=task.record.data.get("timestamp") or datetime.now(UTC).isoformat(),
                cmd=task.spec.argv,
            )
            found = await self._submitter.submit(task, journal, following.cancelled)
            if isinstance(found, Result):
                return found
            following.job = found
            submission = {"at": found.at, "answered": found.answered}
            await task.update(jobid=str(found.job), cluster=found.clusters, submission=submission)
            if task.cancelled:
                await self.cancel(task)
            following.states = history.read(task.record.data.get("states"))
            return await self._follow(task, journal, following, resumed=resumed)
        finally:
            del self._under_way[which]

    async def cancel(self, task: Task) -> None:
        """Have Slurm end the job; asked again with every heartbeat until its state says that it has ended."""
        following = self._under_way.get((task.spec.uuid, task.number))
        if following is None:
            return
        following.cancelled.set()
        if following.job is None:
            await task.end("cancel")  # an sbatch that only prints something
            return
        try:
            await self.cancelling.end(
                following.job.followed((task.spec.uuid, task.number)), following.job.clusters
            )
        except NoAnswer as error:
            await task.update(reason=f"Slurm could not be told to cancel: {error.message}")
            return
        self._poller.hurry()

    async def signal(self, task: Task, number: int) -> str:
        """Have Slurm send a signal to the job."""
        return await self.send(
            Held(task.record, task.spec, None), signal.Signals(number).name.removeprefix("SIG")
        )

    async def _follow(self, task: Task, journal: Journal, following: Following, *, resumed: bool) -> Result:
        known = journal.submitted
        assert known  # noqa: S101 -- submitted before this
        job = known.followed((task.spec.uuid, task.number))
        watch = self._poller.add(job, known.clusters, soon=resumed)
        try:
            async with AsyncExitStack() as output:
                await self._locate(task, journal)
                ending, timed_out = await self._until_ended(task, watch, journal, following, output)
        finally:
            self._poller.discard(watch)
        states = history.after(following.states, watch.job, datetime.now(UTC))
        return _result(task, watch.job, ending, states, timed_out=self._limit(task) if timed_out else None)

    async def _until_ended(
        self, task: Task, watch: Watch, journal: Journal, following: Following, output: AsyncExitStack
    ) -> tuple[Ending, bool]:
        """Show how the job stands until it has ended; whether we ended it for its time."""
        shows = timed_out = False
        while True:
            watch.changed.clear()  # before looking: what comes while we tell of it must wake us
            if (ending := watch.job.ending) is not None:
                break
            job = watch.job
            if job.parts:
                if not shows and job.status is Status.RUNNING:
                    shows = True
                    await self._show(task, job, journal, output)
                why = exports.reason(job, watch.trouble)
                following.states = history.after(following.states, job, datetime.now(UTC))
                data = {**exports.exported(job), "states": following.states}
                await task.update(status=job.status, reason=why, **data)
            elif watch.trouble:
                await task.update(reason=exports.reason(job, watch.trouble))
            left = _seconds_left(task, job)
            if left is not None and left <= 0 and not timed_out:
                timed_out = await self._time_out(watch)
                left = None if timed_out else self.settings.poll_floor
            with suppress(TimeoutError):
                async with asyncio.timeout(None if timed_out else left):
                    await watch.changed.wait()
        if not shows:
            await self._show(task, watch.job, journal, output)
        return ending, timed_out

    def _limit(self, task: Task) -> str:
        """Name the time limit that counted."""
        ours = task.spec.timeout == self.settings.max_runtime
        return "this worker's rule max_runtime" if ours else "the task's own time limit"

    async def _show(self, task: Task, job: Job, journal: Journal, output: AsyncExitStack) -> None:
        """Follow the job's output files; an array has too many of them."""
        known = await self._locate(task, journal)
        if exports.is_array(job) or known.stdout is None:
            return
        files = {"stdout": Path(known.stdout)}
        if known.stderr and known.stderr != known.stdout:
            files["stderr"] = Path(known.stderr)
        settings = self.settings
        await output.enter_async_context(
            task.follow(files, first=settings.output_first, longest=settings.output_longest)
        )

    async def _locate(self, task: Task, journal: Journal) -> Submitted:
        """Show where the output goes, as far as Slurm tells."""
        known = await locate(self.slurm, journal)
        await task.update(outputfile=known.stdout, errorfile=known.stderr, workdir=known.directory)
        return known

    async def _time_out(self, watch: Watch) -> bool:
        try:
            await self.cancelling.end(watch.job, watch.clusters)
        except NoAnswer:
            return False
        self._poller.hurry()
        return True


def _seconds_left(task: Task, job: Job) -> float | None:
    """Give the run time that the task's own limit leaves; None: there is no limit, or it does not run."""
    if task.spec.timeout is None or job.started is None or job.status is not Status.RUNNING:
        return None
    return (job.started + timedelta(seconds=task.spec.timeout) - datetime.now(UTC)).total_seconds()


def _result(task: Task, job: Job, ending: Ending, states: history.States, *, timed_out: str | None) -> Result:
    """Word the end of the attempt."""
    data = {**exports.exported(job), "states": states, "fault": ending.fault}
    times = {"started": job.started, "finished": job.ended}
    outcome: Outcome | None = ending.outcome
    code, reason = ending.returncode, ending.reason
    if ending.outcome is Outcome.CANCELLED and task.cancelled:
        outcome = reason = None  # who wanted it says the worker
    elif ending.outcome is Outcome.CANCELLED and timed_out:
        outcome, code = Outcome.TIMEOUT, _TIMED_OUT
        reason = f"ended at {timed_out} of {task.spec.timeout:g} s"
    return Result(code, outcome, data, reason, **times)
