"""From a task to its one job: calls sbatch at most once with effect, whatever dies or hangs meanwhile.

The order of things is the promise. The journal has the intent before sbatch is called. After a call that named no job,
and after a restart that finds an intent without an answer, the job is looked for by its marker; only when squeue and
sacct, asked twice with time between, know none is sbatch called again. While they don't answer, nothing is done.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace
from functools import partial

from qme.contracts.tasks import Outcome
from qme.executor import Result, Task
from qme.executor.workplace import ready
from qme.observe.logging import get_logger
from qme_executor_slurm import answers, commands, sbatch
from qme_executor_slurm.answers import Accepted, Failed, Verdict
from qme_executor_slurm.call import Call, prepare_call
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.inheriting import others_calls, waits_for
from qme_executor_slurm.journal import Journal, Open, Submitted
from qme_executor_slurm.lookup import Found
from qme_executor_slurm.poller import Poller
from qme_executor_slurm.search import Search, Unknowable
from qme_executor_slurm.settings import SlurmSettings

log = get_logger(__name__)

#: seconds after the end of an sbatch before its job is looked for
_MOMENT = 1.0
#: seconds between two calls of sbatch by tasks that met a limit: a thousand of them ask as politely as one
_APART = 1.0
#: tasks of those that go on at once when Slurm has taken a job
_FOLLOW = 2
#: returncode of a refusal that sbatch gave none for
_REFUSED = 1


class Submitter:
    """Submits the tasks of one worker."""

    def __init__(self, settings: SlurmSettings, slurm: Slurm, poller: Poller) -> None:
        self._settings = settings
        self._metrics = slurm.metrics
        self._search = Search(slurm, poller)
        self._room = asyncio.Semaphore(settings.sbatch_parallel)
        #: tasks that pause now: what ends each one's pause
        self._put_off: deque[asyncio.Event] = deque()

    async def submit(self, task: Task, journal: Journal, cancelled: asyncio.Event) -> Submitted | Result:
        """Give the task's job, or how the attempt ended without one. `cancelled` cuts pauses short. Safe to repeat."""
        pause = self._settings.retry_first
        calls = others_calls(task) if journal.untouched else journal.open
        orphaned = calls is not None
        last: Failed | None = None
        refusal: str | None = None
        while journal.submitted is None:
            if calls is not None:
                refused = await self._settle(task, journal, calls, orphaned=orphaned)
                calls = None
                orphaned = False
                if refused is not None:
                    return refused
                if refusal and journal.submitted is None:
                    return self._refusal(refusal, task)
                continue
            call = await ready(task, partial(prepare_call, settings=self._settings))
            await task.update(pwd=str(call.place.cwd), script=call.script and str(call.script))
            if not call.submission.submits:
                argv = [*commands.without_stray(task.spec.env), *call.submission.argv]
                ended = await task.run(argv, cwd=call.place.cwd, env=task.spec.env)
                return Result(ended.returncode, reason=ended.error)
            async with self._room:
                await task.confirm()
                answer = await self._call(task, journal, call)
            calls = journal.open
            if isinstance(answer, Accepted):
                self._let_through()
                break
            again = last and answer.unknown and answer.unknown == last.unknown
            refusal, last = answer.reason if again else None, answer
            if answer.verdict is Verdict.REFUSED:
                return self._refusal(answer.reason, task)
            if answer.verdict is Verdict.LATER:
                await task.update(reason=f"Slurm takes no job now, sbatch is tried again: {answer.reason}")
                await self._pause(pause, cancelled)
                pause = min(pause * 2, self._settings.retry_longest)
        assert journal.submitted  # noqa: S101 -- the loop's condition
        return journal.submitted

    async def _call(self, task: Task, journal: Journal, call: Call) -> Accepted | Failed:
        """Call sbatch once, and note what came of it."""
        spec, settings = task.spec, self._settings
        mark = sbatch.marker(spec.uuid, task.number)
        env = commands.submit_environment(
            spec.env, taskid=task.record.uid, uuid=spec.uuid, attempt=task.number
        )
        at = time.time()
        journal.intend(at, mark, call.submission.clusters)
        try:
            done = await commands.submit(
                call.submission.argv,
                cwd=call.place.cwd,
                env=env,
                umask=0o022 if spec.umask is None else spec.umask,
                timeout=settings.wait_timeout if call.submission.waits else settings.sbatch_timeout,
                stdin=call.stdin,
            )
        except OSError as error:
            journal.nothing()
            return Failed(Verdict.LATER, f"sbatch can't be started: {error.strerror}")
        stdout, stderr = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        answer = answers.read(stdout, stderr, None if done.timed_out else done.returncode)
        await task.update(sbatch={"returncode": done.returncode, "stdout": stdout, "stderr": stderr})
        if isinstance(answer, Accepted):
            clusters = answer.cluster or call.submission.clusters
            journal.accept(Submitted(answer.job, at, clusters, time.time()))
        elif answer.verdict is not Verdict.UNCLEAR:
            journal.nothing()
        self._metrics.sbatch(answer)
        log.info("slurm.sbatch", answer=str(answer))
        return answer

    async def _settle(self, task: Task, journal: Journal, calls: Open, *, orphaned: bool) -> Result | None:
        """Find out what came of calls without an answer, and note it; a Result where Slurm refused the job."""
        mark = (task.spec.uuid, task.number)
        if orphaned:  # by a worker's death, the last one may still be at it; but its time is bounded
            await asyncio.sleep(min(max(0.0, calls.last + self._bound - time.time()), self._bound))
        alone = await task.alone()
        empty_since: float | None = None
        known_until = calls.first
        pause = self._settings.poll_floor
        while True:
            try:
                asked = time.time()
                found, clusters = await self._search.find(mark, calls, known_until)
                known_until = asked
            except Unknowable as error:
                if alone := alone or await task.alone():
                    return Result(_REFUSED, Outcome.LOST, reason=f"lost: {error.message}")
                await task.update(reason=waits_for(task))
            except NoAnswer as error:
                why = f"sbatch may have submitted a job, and Slurm can't be asked: {error.message}"
                await task.update(reason=why)
                pause = min(pause * 2, self._settings.poll_backoff)
            else:
                if found:
                    return await self._adopt(task, journal, replace(calls, clusters=clusters), found)
                if not alone:
                    await task.update(reason=waits_for(task))
                    alone = await task.alone()
                    # Back: what it began last has come to its end after this time.
                    await asyncio.sleep(self._bound if alone else self._settings.poll_floor)
                    continue
                now = time.monotonic()
                if empty_since is not None and now - empty_since >= self._settings.lookup_span:
                    log.info("slurm.no_job", marker=sbatch.marker(*mark))
                    journal.nothing()
                    return None
                await task.update(
                    reason=f"sbatch may have submitted a job, which is being looked for{_said(task)}"
                )
                empty_since = now if empty_since is None else empty_since
                pause = min(self._settings.lookup_span, max(pause, self._settings.poll_floor))
            await asyncio.sleep(pause)

    async def _pause(self, seconds: float, cancelled: asyncio.Event) -> None:
        """Wait before sbatch is called again, the longer the more tasks do, since each of them will call it."""
        turn = asyncio.Event()
        self._put_off.append(turn)
        waits = [asyncio.create_task(event.wait()) for event in (turn, cancelled)]
        try:
            longest = max(seconds, len(self._put_off) * _APART)
            await asyncio.wait(waits, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if turn in self._put_off:
                self._put_off.remove(turn)

    def _let_through(self) -> None:
        """Have those go on that wait longest: each job that is taken lets two more try, until there is no room."""
        for _ in range(min(_FOLLOW, len(self._put_off))):
            self._put_off.popleft().set()

    @property
    def _bound(self) -> float:
        """Seconds within which an sbatch has come to its end."""
        return self._settings.sbatch_timeout + _MOMENT

    async def _adopt(self, task: Task, journal: Journal, calls: Open, found: list[Found]) -> Result | None:
        kept = [one for one in found if not one.refused]
        if len(kept) > 1:
            log.error("slurm.two_jobs", jobs=[one.job for one in kept], task=task.spec.uuid)
        if not kept:
            journal.nothing()
            return self._refusal("Slurm refused the job: it fits no node of the cluster", task)
        journal.accept(Submitted(kept[0].job, calls.first, calls.clusters))
        self._metrics.recovered.inc()
        log.info("slurm.adopted", job=kept[0].job)
        return None

    def _refusal(self, reason: str, task: Task) -> Result:
        code = (task.record.data.get("sbatch") or {}).get("returncode") or _REFUSED
        return Result(code if code > 0 else _REFUSED, Outcome.SUBMIT_FAILED, reason=reason)


def _said(task: Task) -> str:
    """Give sbatch's last words, to hang on a sentence."""
    said = " ".join(str((task.record.data.get("sbatch") or {}).get("stderr", "")).split())
    return f" ({said})" if said else ""
