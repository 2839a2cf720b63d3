"""One attempt, from the claim to its final record: the `Task` that an executor is handed. No queue, no connections.

An attempt can be begun anew at any point by another worker process: what it must not forget is in the record, in the
spool, or on the bus.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from qme.contracts.output import STDERR, STDOUT
from qme.contracts.tasks import Holder, Status, TaskRecord, TaskSpec
from qme.errors import QmeError
from qme.executor.attempts import Exit
from qme.executor.base import EndReason
from qme.executor.workplace import WorkplaceError
from qme.lifecycle import Progressed
from qme.observe.logging import bind_task, get_logger
from qme.worker import spooled
from qme.worker.clock import now, uptime
from qme.worker.command import Command, Launch, Memory
from qme.worker.context import Context, Which
from qme.worker.ending import never_started, report
from qme.worker.executing import ClaimGone, NotStarted, execute
from qme.worker.following import Copy, following
from qme.worker.judging import Judge, Refused
from qme.worker.logs import Output
from qme.worker.packing import environment
from qme.worker.predecessors import are_over
from qme.worker.progress import Progress
from qme.worker.records import RecordEntry
from qme.worker.verdict import judge

log = get_logger(__name__)

#: seconds beyond the grace time that an executor's `cancel` is waited for once `execute` has returned
CANCEL_PATIENCE = 30.0


class Attempt:
    """An attempt that belongs to this worker."""

    def __init__(
        self,
        context: Context,
        entry: RecordEntry,
        spec: TaskSpec,
        number: int,
        *,
        read_at: float,
        fresh: bool,
    ) -> None:
        """Hold an attempt. `read_at`: second of CLOCK_BOOTTIME of the entry; `fresh`: it was claimed just now."""
        self.context = context
        self._number = number
        self.cancelled = False
        self._rules = Judge(context.executor, spec)
        self._entry = entry
        self._fresh = fresh
        folder = context.spool.attempt(spec.uuid, number)
        settings = context.settings
        self._command = Command(
            context.keeper, folder, settings.lease, read_at + settings.lease / 2, fresh=fresh
        )
        self._progress = Progress(number, entry.value.data if self._is_current else {}, self._write)
        self._output: Output | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        #: from whom it was taken over: remembered here too, should the bus forget our claim
        self._earlier: tuple[Holder, ...] = ()
        self._since = uptime()
        self._take(entry)

    # -- what an executor sees ---------------------------------------------------------------------------------------
    @property
    def spec(self) -> TaskSpec:
        """What was submitted, as far as this worker takes it."""
        return self._rules.spec

    @property
    def record(self) -> TaskRecord:
        """The record as this worker knows it, with everything exported so far."""
        return self._entry.value.model_copy(
            update={"data": {**self._entry.value.data, **self._progress.data}}
        )

    @property
    def number(self) -> int:
        """Which attempt it is."""
        return self._number

    @property
    def directory(self) -> Path:
        """The attempt's own folder."""
        path = spooled.own_folder(self.context.settings, self.context.worker, *self.which)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def started(self) -> bool:
        """The start token exists."""
        return self._command.started

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        timeout: float | None = None,
    ) -> Exit:
        """Run the command, or attach to it where it was started before."""
        umask = 0o022 if self.spec.umask is None else self.spec.umask
        given = self.context.admission.granted(self.which)
        everything = {**(env or {}), **environment(given)}
        launch = Launch(tuple(argv), cwd or self.directory, everything, umask, stdin)
        is_new = await self._command.start(launch, self.record, self.confirm)
        if is_new:
            self.context.metrics.started.inc()
        self._output = self.context.logs.watch(
            self.context.key(self.spec.uuid), self._command.folder, fresh=is_new and self._fresh
        )
        await self.update(pid=self._command.pid)
        if given.gpus:
            await self.update(gpus=list(given.gpus))
        memory = Memory(given.asked.mem, self.context.memory) if given.asked.mem else None
        output = self.context.executor.settings.output_limit
        grace = self.context.settings.term_grace
        return await self._command.wait(timeout, grace, memory=memory, output=output)

    async def end(self, reason: EndReason) -> None:
        """End the command's tree."""
        await self._command.end(reason, self.context.settings.term_grace)

    async def signal(self, number: int) -> int:
        """Send a signal to every process of the command."""
        return await self._command.signal(number)

    async def confirm(self) -> None:
        """Let it begin. Raises NotStarted or ClaimGone where it must not."""
        if self._command.stale:
            entry, read_at = await self.context.records.read_surely(self.context.key(self.spec.uuid))
            if entry is None:
                raise ClaimGone("the record is gone")
            self._take(entry)
            self._command.refresh(read_at)
        record = self._entry.value
        if not self.context.records.holds(record, self.number):
            raise ClaimGone(f"{record.uid} is not this worker's any more")
        if self.cancelled:
            raise NotStarted
        if short := self.context.admission.short(self.spec.resources):  # it was claimed when there was more
            raise Refused(
                f"this worker has been started again with less than the {short.words()} it asks for"
            )
        await self._rules.judge(self)

    async def alone(self) -> bool:
        """Ask the heartbeats of those that held it before."""
        context = self.context
        if not self._earlier:
            return True
        # Before that, one that lives could still begin something on the ground of what it had read.
        if uptime() < self._since + context.settings.lease:
            return False
        try:
            return await are_over(context.bus, context.executor.name, context.pool, self._earlier)
        except QmeError:
            return False  # nobody can tell now

    @asynccontextmanager
    async def follow(self, files: Mapping[str, Path], *, first: float, longest: float) -> AsyncIterator[None]:
        """Take a scheduler's output files for this attempt's output."""
        folder = self._command.folder
        folder.create()
        targets = {STDOUT: folder.stdout, STDERR: folder.stderr}
        fresh = self._fresh and not folder.stdout.exists()
        limit = self.context.settings.log_limit
        copies = [Copy(path, targets[stream], limit) for stream, path in files.items()]
        # First what there is, or what another worker has shipped would seem to be gone from the file.
        await asyncio.to_thread(lambda: [copy.advance() for copy in copies])
        if self._output is None:
            self._output = self.context.logs.watch(self.context.key(self.spec.uuid), folder, fresh=fresh)
        async with following(copies, first, longest):
            yield

    async def update(self, *, status: Status | None = None, reason: str | None = None, **data: Any) -> None:
        """Export; written within a second or two."""
        self._progress.update(data, status, reason)

    # -- what the worker does with it --------------------------------------------------------------------------------
    @property
    def which(self) -> Which:
        """Uuid and number."""
        return self.spec.uuid, self.number

    async def perform(self) -> None:
        """Run it to its final record. Cancelling this leaves the command running, to be taken up again."""
        with bind_task(self._entry.value.uid):
            progress = asyncio.create_task(self._progress.run())
            try:
                if self.cancelled:
                    self._begin_cancel()
                result = await execute(self.context.executor, self, self._gone, self._admit)
                result = self._rules.named(result, self._command.exit)
                if self._cancelling is not None:  # ended means that nothing of it runs any more
                    await asyncio.wait(
                        {self._cancelling}, timeout=self.context.settings.term_grace + CANCEL_PATIENCE
                    )
                progress.cancel()
                cancel = self._entry.value.cancel if self.cancelled else None
                self.context.finished(self.which)
                event = judge(self.number, result, self._command.exit, cancel, self._progress.data, now())
                await report(
                    self.context, self._entry, event, self._command.folder, self._output, self._since
                )
            except ClaimGone as gone:
                log.warning("attempt.dropped", attempt=self.number, problem=gone.message)
                if not self.started:
                    await never_started(self.context, self._entry, self.number)
                spooled.mark_reported(self._command.folder)
            finally:
                for helper in (progress, self._cancelling):
                    if helper is not None:
                        helper.cancel()
                        with suppress(asyncio.CancelledError):
                            await helper
                if self._output is not None:
                    self._output.stop()

    async def look(self, *, leader: bool = False) -> None:
        """Read the record again: somebody may want the task ended, or has given it up; it may have been forgotten.

        A stale answer is mended by the next look. Raises BusUnavailable.
        """
        records, key = self.context.records, self.context.key(self.spec.uuid)
        entry = await records.read(key, leader=leader)
        if entry is None or entry.revision < self._entry.revision:
            # A replica that is behind, or a bus that was rolled back: the leader knows.
            entry = await records.read(key)
            self._entry = entry or self._entry
        else:
            self._take(entry)
        if not self._entry.value.ended or self.started:
            status = self._progress.status or self.context.executor.begins
            gpus = self.context.admission.granted(self.which).gpus
            back = records.returned(self._command.folder, status, self._progress.data, self._earlier, gpus)
            self._take(await records.apply(key, self._entry, back) or self._entry)
        if self.cancelled:
            self._begin_cancel()

    async def _admit(self) -> None:
        """Know under which paths it is run, and refuse it at once where nothing of it can have been begun."""
        if self.started:
            return
        try:
            await self._rules.judge(self)
        except (Refused, WorkplaceError):
            if self._fresh:
                raise
            # What was begun stays, whatever the rules are now; else `confirm` refuses it.

    @property
    def _is_current(self) -> bool:
        return self._entry.value.attempt == self.number

    def _take(self, entry: RecordEntry) -> None:
        if entry.revision >= self._entry.revision:
            self._entry = entry
            claim = entry.value.claim
            if self._is_current and claim is not None:
                if claim.worker == self.context.worker:
                    self._earlier = claim.earlier
                else:
                    self._gone.set()
        self.cancelled = self.cancelled or (self._is_current and self._entry.value.cancel is not None)

    def _begin_cancel(self) -> None:
        if self._cancelling is None or self._cancelling.done():
            self._cancelling = asyncio.create_task(self._cancel())

    async def _cancel(self) -> None:
        try:
            await self.context.executor.cancel(self)
        except Exception:
            log.exception("attempt.cancel_failed", attempt=self.number)

    async def _write(self, event: Progressed) -> None:
        event = replace(event, worker=self.context.worker)
        if self._entry.value.started is not None:
            event = replace(event, started=None)
        entry = await self.context.records.apply(self.context.key(self.spec.uuid), self._entry, event)
        if entry is not None:
            self._take(entry)
            if self.cancelled:
                self._begin_cancel()
