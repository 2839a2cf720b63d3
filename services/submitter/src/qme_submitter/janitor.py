"""The chores that one submitter does for all: what broke off half-way is taken up, what waited long enough is released.

It decides nothing of its own: `judgement` says what a record calls for, and each change is a compare-and-set or a
message that the claim makes harmless, so a second janitor by mistake costs work only. Idle, it costs a request per
interval.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from qme.bus.kv import Entry, Removed
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey, queue_subject
from qme.contracts.tasks import TaskRecord
from qme.errors import Conflict, InvalidRequest, NotFound, QmeError
from qme.lifecycle import Event
from qme.observe.logging import get_logger
from qme.observe.metrics import SubmitterMetrics
from qme_submitter.buckets import Buckets
from qme_submitter.changes import Changes
from qme_submitter.judgement import LONGEST_PAUSE, Apply, NeedsMessage, duty, pause
from qme_submitter.lease import Lease
from qme_submitter.orphans import Orphans
from qme_submitter.releasing import Releasing
from qme_submitter.retention import Retention
from qme_submitter.silence import Silence

log = get_logger(__name__)

#: tasks that are looked after at the same time
TOGETHER = 32
#: shortest time between two rounds, in seconds
BREATH = 0.05


@dataclass(frozen=True, slots=True)
class _Open:
    """A task that nobody works on: when to look at it again, and whether its message is what to look for."""

    at: float
    since: float | None = None

    def is_stranded(self, now: float) -> bool:
        """Tell whether the clock was set back so far that its time would not come for long."""
        return self.since is not None and self.at > now + LONGEST_PAUSE


class Janitor:
    """Does the chores while it holds the lease; `run` it for as long as the submitter lives."""

    def __init__(
        self,
        changes: Changes,
        lease: Lease,
        *,
        interval: float,
        grace: float,
        silence: Silence,
        releasing: Releasing,
        retention: Retention,
        metrics: SubmitterMetrics,
    ) -> None:
        self._changes = changes
        self._buckets: Buckets = changes.buckets
        self._bus = changes.buckets.bus
        self._lease = lease
        self._interval = interval
        self._grace = grace
        self._metrics = metrics
        self._orphans = Orphans(changes.buckets)
        self._silence = silence
        self._releasing = releasing
        self._retention = retention
        self._open: dict[str, _Open] = {}
        self._last, self._last_key = 0, ""
        #: the bus was away since the last look
        self._doubt = False
        self._wake = asyncio.Event()
        #: this submitter had the lease when it last looked
        self._leads = False

    async def run(self) -> None:
        """Do the chores until cancelled; survives any loss of the bus."""
        try:
            while True:
                await self._round()
                # Not `wait_for`: in Python 3.11 it loses a cancellation that comes just as the event is set.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._until_next()):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            with contextlib.suppress(QmeError):
                await self._lease.release()

    async def keep_lease(self) -> None:
        """Renew the lease however long a round takes, and take it soon after whoever had it has gone."""
        while True:
            await asyncio.sleep(self._lease.beat)
            with contextlib.suppress(QmeError):
                if await self._lease.hold() and not self._leads:
                    self._wake.set()

    async def listen(self) -> None:
        """Pass changes on to whoever releases what waits; the janitor's own chores can wait for their time."""
        async with self._bus.follow(subjects.CHANGES) as events:
            async for event in events:
                if event is None:
                    self._doubt = True
                    self._releasing.missed()
                    self._wake.set()
                else:
                    self._releasing.hear(event)

    async def look(self) -> None:
        """Do one round of chores, whoever holds the lease. Raises what the bus raises."""
        await self._read_changes()
        await self._releasing.look()
        await self._mend_due()
        await self._give_up_lost()
        await self._orphans.drop()
        await self._retention.apply()

    async def _round(self) -> None:
        try:
            self._leads = await self._lease.hold()
            if self._leads:
                await self.look()
                self._releasing.lead()
                return
        except QmeError as error:
            log.warning("janitor.round_failed", error=error.message)
            return
        except Exception:
            # One odd record must not end all chores; the next round starts from where this one stopped.
            log.exception("janitor.round_failed")
            return
        # Somebody else does it; whoever takes over reads everything anew.
        self._forget()

    def _forget(self) -> None:
        self._open.clear()
        self._silence.forget()
        self._releasing.forget()
        self._last, self._last_key = 0, ""

    def _until_next(self) -> float:
        now = self._buckets.clock().timestamp()
        soonest = min((one.at for one in self._open.values()), default=now + self._interval)
        return min(max(soonest - now, BREATH), self._interval)

    # -- what there is -------------------------------------------------------------------------------------------------
    async def _read_changes(self) -> None:
        records = self._buckets.records
        state = await self._bus.state(records.stream)
        if state.last < self._last or await self._was_set_back():
            self._forget()
        if state.last == self._last:
            return
        async for seen in records.scan(start=self._last + 1):
            await self._lease.renew()  # else all that is read would be forgotten, and read anew for ever
            self._last, self._last_key = max((self._last, self._last_key), (seen.revision, seen.key))
            if isinstance(seen, Entry) and str(seen.value.key) == seen.key:
                self._note(seen.key, seen.value)
                self._silence.note(seen.key, seen.revision, seen.value)
                await self._releasing.note(seen)
            else:
                self._open.pop(seen.key, None)
                self._silence.note(seen.key, seen.revision, None)
                if isinstance(seen, Removed):
                    self._releasing.gone(seen.key, seen.revision)
                else:
                    self._releasing.unusable(seen.key, seen.revision)
                    log.warning("janitor.record_unusable", key=seen.key)

    async def _was_set_back(self) -> bool:
        # A bus that was away may have come back with an older store, whose sequences have caught up with us by now.
        if not self._doubt or not self._last:
            return False
        seen = await self._buckets.records.look(self._last_key, leader=True)
        self._doubt = False
        return seen is None or seen.revision < self._last

    def _note(self, key: str, record: TaskRecord) -> None:
        now = self._buckets.clock()
        match duty(record, now):
            case NeedsMessage(since=since):
                # Another machine's clock, or ours before it was set back, may say that it was only just released.
                begun = min(since, now).timestamp()
                self._open[key] = _Open(max(begun + self._grace, now.timestamp()), begun)
            case Apply():
                self._open[key] = _Open(now.timestamp())
            case None:
                self._open.pop(key, None)

    # -- what to do ----------------------------------------------------------------------------------------------------
    async def _mend_due(self) -> None:
        now = self._buckets.clock().timestamp()
        due = {key: one for key, one in self._open.items() if one.at <= now or one.is_stranded(now)}
        if not due:
            return
        queued: Iterable[str] = ()
        if any(one.since is not None for one in due.values()):
            # One request for all that merely wait for a worker, which are nearly all.
            queued = await self._bus.subjects(subjects.TASKS, subjects.EVERY_QUEUE)
        broken = []
        for key, one in due.items():
            if one.since is not None and queue_subject(TaskKey.parse(key)) in queued:
                since = min(one.since, now)
                self._open[key] = _Open(now + pause(now - since, self._grace), since)
            else:
                broken.append(key)
        for start in range(0, len(broken), TOGETHER):
            await self._lease.renew()
            await asyncio.gather(*(self._mend(key) for key in broken[start : start + TOGETHER]))

    async def _mend(self, text: str) -> None:
        key = TaskKey.parse(text)
        # The message first: a worker claims before it acks, so a record that is still due after this has lost it.
        queued = await self._buckets.queued(key)
        entry = await self._buckets.records.look(text, leader=True)
        if not isinstance(entry, Entry) or entry.value.key != key:
            self._open.pop(text, None)
            return
        now = self._buckets.clock()
        todo = duty(entry.value, now)
        self._note(text, entry.value)
        if isinstance(todo, NeedsMessage):
            waited = (now - todo.since).total_seconds()
            self._open[text] = _Open(now.timestamp() + pause(waited, self._grace), todo.since.timestamp())
            if not queued:
                await self._buckets.enqueue(key, entry.value.attempt, entry=entry, repair=True)
                self._metrics.republished.inc()
                log.warning("janitor.message_published_again", task=key.taskid, waited=round(waited, 1))
        elif isinstance(todo, Apply):
            await self._apply(key, todo.event)

    async def _give_up_lost(self) -> None:
        for lost in await self._silence.look():
            if await self._apply(lost.key, lost.event, lost.revision):
                self._metrics.lost.inc()
                log.warning("janitor.lost", task=lost.key.taskid, worker=lost.event.worker)

    async def _apply(self, key: TaskKey, event: Event, revision: int | None = None) -> bool:
        try:
            done, _ = await self._changes.apply(key, event, self._bus.user, revision=revision)
        except (InvalidRequest, NotFound, Conflict) as error:
            log.warning("janitor.change_refused", task=key.taskid, error=error.message)
            return False
        return not done.unchanged
