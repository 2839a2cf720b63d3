"""Reads and writes the records of one worker's tasks. Decides nothing: `qme.lifecycle` says what an event does.

Every write is a compare-and-set: read, advance by the events, write at the revision that was read; on a conflict all
three again. So an event is always judged against what is true when it is written, and a key that is gone is not written
again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from qme.bus.kv import Bucket, Corrupt, Entry, Removed
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Holder, Outcome, Status, TaskRecord, TaskSpec, event_headers
from qme.errors import (
    Conflict,
    IllegalTransition,
    InvalidRequest,
    NotPermitted,
    QmeError,
    RecordCorrupt,
)
from qme.executor.attempts import AttemptDir
from qme.executor.processes import boot_id
from qme.lifecycle import Claimed, Event, Returned, advance, step_headers
from qme.observe.logging import get_logger
from qme.observe.metrics import WorkerMetrics
from qme.worker.clock import now, uptime
from qme.worker.export import fit

log = get_logger(__name__)

#: seconds before a write that the bus did not take is tried again, doubling up to the longest
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
#: seconds until a spec that no replica has shown counts as gone
SPEC_PATIENCE = 60.0

T = TypeVar("T")
RecordEntry = Entry[TaskRecord]


class Records:
    """The task and spec buckets as one worker uses them."""

    def __init__(self, bus: Bus, worker: str, metrics: WorkerMetrics, host: str | None = None) -> None:
        self.tasks = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
        self._specs = Bucket(bus, subjects.BUCKET_SPECS, TaskSpec)
        self._worker = worker
        self._host = host
        self._metrics = metrics
        #: where our latest write stands
        self._latest: tuple[TaskKey, int] | None = None

    async def read(self, key: TaskKey, *, leader: bool = True) -> RecordEntry | None:
        """Read a record, from the leader unless told otherwise: whatever is dropped or ended because of it must be so.

        Raises RecordCorrupt.
        """
        return await self.tasks.get(str(key), leader=leader)

    async def spec(self, key: TaskKey) -> TaskSpec | None:
        """Read what was submitted; a replica that is behind is not believed when it knows nothing.

        The leader answers for all specs or none, so a worker may have no right to ask it: then it asks the replicas
        until one has the spec, or `SPEC_PATIENCE` is over.
        """
        found = await self._specs.get(str(key))
        if found is None:
            try:
                found = await self._specs.get(str(key), leader=True)
            except NotPermitted:
                found = await self._spec_of_replicas(key)
        return found.value if found else None

    async def _spec_of_replicas(self, key: TaskKey) -> Entry[TaskSpec] | None:
        clock = asyncio.get_running_loop().time
        until = clock() + SPEC_PATIENCE
        while True:
            seen = await self._specs.look(str(key))
            if isinstance(seen, Entry):
                return seen
            if isinstance(seen, Corrupt):
                raise RecordCorrupt(seen.problem)
            if isinstance(seen, Removed) or clock() > until:
                return None
            await asyncio.sleep(FIRST_PAUSE)

    async def write(self, key: TaskKey, before: RecordEntry, record: TaskRecord) -> RecordEntry:
        """Write a record in place of another, once. Raises Conflict; BusUnavailable: nobody knows if it was written."""
        record = fit(record)
        headers = event_headers(record, self._worker) | step_headers(before.value, record)
        written = await self.tasks.update(str(key), record, before.revision, headers=headers)
        self._latest = (key, written)
        return Entry(str(key), record, written)

    async def apply(self, key: TaskKey, entry: RecordEntry, *events: Event) -> RecordEntry | None:
        """Advance a record by events, from `entry` or whatever stands by now; None: its key is gone.

        Raises IllegalTransition and BusUnavailable.
        """
        while True:
            record = entry.value
            for event in events:
                record = advance(record, event).record
            if record == entry.value:
                return entry
            try:
                written = await self.write(key, entry, record)
            except Conflict:
                self._metrics.write_conflicts.inc()
            else:
                if entry.value.provisional and record.outcome is not Outcome.LOST:
                    self._metrics.corrected.inc()
                return written
            found = await self.read(key)
            if found is None:
                return None
            entry = found

    async def apply_surely(self, key: TaskKey, entry: RecordEntry, *events: Event) -> RecordEntry | None:
        """Do as `apply`, for as long as it takes. What was written already is not written twice."""
        return await _surely("write", lambda: self.apply(key, entry, *events))

    async def read_surely(self, key: TaskKey) -> tuple[RecordEntry | None, float]:
        """Read as `read` does, for as long as it takes; with the second of CLOCK_BOOTTIME from which on it was true."""

        async def read() -> tuple[RecordEntry | None, float]:
            at = uptime()
            return await self.read(key), at

        return await _surely("read", read)

    async def set_back(self) -> bool:
        """Tell, for as long as it takes, whether the bus shows a state from before our latest write; once for each.

        To be asked before anything is written on the ground of what it shows now.
        """
        latest, self._latest = self._latest, None
        if latest is None:
            return False
        key, revision = latest
        seen = await _surely("read", lambda: self.tasks.look(str(key), leader=True))
        if seen is None or seen.revision < revision:
            return True
        self._latest = self._latest or latest
        return False

    async def spec_surely(self, key: TaskKey) -> TaskSpec | None:
        """Read as `spec` does, for as long as it takes."""
        return await _surely("read", lambda: self.spec(key))

    @staticmethod
    def is_about_its_key(entry: RecordEntry) -> bool:
        """Tell whether a record speaks for the task under whose key it stands; else nothing may come of it."""
        record = entry.value
        return str(record.key) == entry.key and subjects.is_uuid(record.uuid) and record.attempt >= 1

    def holds(self, record: TaskRecord, attempt: int) -> bool:
        """Tell whether a record gives this attempt to this worker."""
        claim = record.claim
        return record.attempt == attempt and claim is not None and claim.worker == self._worker

    def claim(self, attempt: int) -> Claimed:
        """Word a claim of this worker's, told from all others by its nonce."""
        return Claimed(self._worker, secrets.token_hex(8), attempt, now(), self._host, boot_id())

    def returned(
        self,
        folder: AttemptDir,
        status: Status = Status.RUNNING,
        data: Mapping[str, Any] | None = None,
        earlier: tuple[Holder, ...] = (),
        gpus: tuple[str, ...] = (),
    ) -> Returned:
        """Word that this worker still has the attempt of this folder, and how that stands."""
        token, nonce = folder.read_token(), secrets.token_hex(8)
        started = datetime.fromtimestamp(token.started, UTC) if token and token.started else None
        return Returned(
            self._worker,
            nonce,
            folder.attempt,
            now(),
            status,
            started,
            data or {},
            host=self._host,
            boot=boot_id(),
            gpus=gpus,
            earlier=earlier,
        )


async def _surely(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask()
        except (IllegalTransition, InvalidRequest):  # that no waiting mends
            raise
        except QmeError as error:
            # Rights too may come back: credentials are renewed while a task runs. So may a stream that is offline.
            log.warning("record.bus_waits", asked=what, problem=error.message, seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
