"""Releases tasks that wait: for their parents' ends, for a retry's delay, for their turn. Done by whoever leads.

Two leaders at once do no harm: a release, and the end of a task that can't start any more, are compare-and-set writes.
What is known comes from the changes as the bus republishes them, from the tasks that this submitter accepted, and from
the janitor's reading of all records, which also makes good what the others missed. What ends a task (a parent that
ended otherwise) is asked of the leader once more before it counts. A worker can write any uuid into its own pool, so
news of a parent counts from where its spec stands alone. Decides nothing: see `lifecycle.parents`, `turns`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from qme.bus.kv import OPERATION, Corrupt, Entry, Removed
from qme.bus.port import Message
from qme.contracts import resources as fit
from qme.contracts import subjects
from qme.contracts.arrays import place_of
from qme.contracts.resources import Capacity
from qme.contracts.subjects import TaskKey, any_key
from qme.contracts.tasks import (
    HEADER_OUTCOME,
    HEADER_PROVISIONAL,
    HEADER_STATUS,
    HEADER_WAITS,
    On,
    Outcome,
    Parent,
    TaskRecord,
)
from qme.errors import Conflict, InvalidRequest, NotFound, QmeError
from qme.lifecycle import Event, Never, Released, Standing, Unfit, Unmet, edge
from qme.observe.logging import get_logger
from qme.observe.metrics import SubmitterMetrics
from qme_submitter.ahead import Ahead
from qme_submitter.arrays import Arrays, State
from qme_submitter.changes import Changes
from qme_submitter.making import Making
from qme_submitter.turns import Place, choose
from qme_submitter.waiting import Index, Waiting

log = get_logger(__name__)

#: reads and writes at the same time
TOGETHER = 64
#: tasks that are judged before the loop looks again at what has happened meanwhile
PIECE = 512
#: seconds for which news is gathered: a submitter knows the tasks that it accepts, and need not read them
GATHER = 0.02
#: seconds between two tries while the bus is away
RETRY = 1.0
#: seconds between two looks at whether there is room, while anybody waits for it
LOOK = 0.5
#: tasks whose place is remembered
REMEMBERED = 50_000
_GONE = Standing(gone=True)
_OUTCOMES = frozenset(Outcome)


class Releasing:
    """The index of what waits, kept while this submitter leads, and what follows from it."""

    def __init__(
        self, changes: Changes, ahead: Ahead, settle: float, metrics: SubmitterMetrics, queued_max: int = 0
    ) -> None:
        self._changes = changes
        self._queued_max = queued_max
        self._ahead = ahead
        self._buckets = changes.buckets
        self._metrics = metrics
        self._registry = changes.registry
        self._index = Index(settle)
        self._arrays = Arrays()
        self._making = Making(changes, self._arrays, queued_max)
        self._capacities: dict[Place, list[Capacity | None]] = {}
        #: tasks that stand back for others of their array, by its head
        self._throttled: dict[TaskKey, dict[str, None]] = {}
        self._heard: dict[TaskKey, int] = {}
        #: where tasks live, by their specs; and what was told of parents of which that is not known yet
        self._homes: dict[str, TaskKey] = {}
        self._unsure: dict[TaskKey, tuple[int, Standing]] = {}
        self._leads = False
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    # -- who does it ---------------------------------------------------------------------------------------------------
    def lead(self) -> None:
        """Act on what is known, from now on: all records have been read."""
        self._leads = True
        self._arrays.all_read()
        self._wake.set()

    def forget(self) -> None:
        """Somebody else leads, or all has to be read anew."""
        self._leads = False
        self._index = Index(self._index.settle)
        self._arrays = Arrays()
        self._making = Making(self._changes, self._arrays, self._queued_max)
        for known in (self._heard, self._homes, self._unsure, self._throttled):
            known.clear()

    async def run(self) -> None:
        """Release until cancelled; survives any loss of the bus."""
        while True:
            pause = await self._round()
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes just as the event is set.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(GATHER)

    async def _round(self) -> float | None:
        try:
            return await self.look() if self._leads else None
        except QmeError as error:
            log.warning("releasing.round_failed", error=error.message)
        except Exception:
            log.exception("releasing.round_failed")
        return RETRY

    def waits_at(self, place: Place) -> bool:
        """Tell whether anybody waits for a turn at a place, as far as is known here."""
        return self._leads and self._index.ready.waits_at(place)

    # -- what becomes known --------------------------------------------------------------------------------------------
    def accepted(self, revision: int, record: TaskRecord) -> None:
        """Take in a task that this submitter has just accepted."""
        if self._leads:
            self._remember(record.key)
        if self._leads and record.array is not None:
            self._arrays.note(record, revision)
            self._wake.set()
        elif self._leads and record.waits and self._is_whole(record):
            self._index.add(record, revision, _shown(record))
            self._wake.set()

    async def note(self, seen: Entry[TaskRecord]) -> None:
        """Take in a record as it was read. Raises what the bus raises."""
        record, key = seen.value, seen.value.key
        known = self._index.tasks.get(key.uuid)
        if known is not None and known.key != key and await self._home(key.uuid) not in (key, None):
            return
        self._arrays.note(record, seen.revision)
        if record.array is None and record.waits:
            parents = await self._parents(record)
            if parents is not None:
                self._index.add(record, seen.revision, parents)
        elif known is not None and known.key == key:
            self._index.left(key.uuid, seen.revision)
        self._stands(key, seen.revision, Standing.of(record))

    def gone(self, key: str, revision: int) -> None:
        """Take in that a record was removed."""
        with contextlib.suppress(InvalidRequest):
            self._arrays.gone(TaskKey.parse(key))
        self._unseen(key, revision, _GONE)

    def unusable(self, key: str, revision: int) -> None:
        """Take in that a record can't be read: it says nothing about the task."""
        self._unseen(key, revision, Standing())

    def _unseen(self, text: str, revision: int, standing: Standing) -> None:
        with contextlib.suppress(InvalidRequest):
            key = TaskKey.parse(text)
            known = self._index.tasks.get(key.uuid)
            if known is not None and known.key == key:
                self._index.left(key.uuid, revision)
            self._stands(key, revision, standing)

    def _stands(self, key: TaskKey, revision: int, standing: Standing) -> None:
        self._wake.set()
        if not self._index.is_parent(key.uuid):
            return
        home = self._homes.get(key.uuid)
        if home is None:
            self._unsure[key] = max(
                self._unsure.get(key, (-1, standing)), (revision, standing), key=_revision
            )
        elif home == key:
            self._index.stands(key.uuid, revision, standing)

    async def _home(self, uuid: str) -> TaskKey | None:
        """Find where a task lives, by what submitters alone write; None: nowhere any more."""
        if uuid not in self._homes:
            spec = await self._buckets.specs.look(any_key(uuid), leader=True)
            if spec is None:
                return None
            self._remember(TaskKey.parse(spec.key))
        return self._homes[uuid]

    def _remember(self, key: TaskKey) -> None:
        self._homes[key.uuid] = key
        if len(self._homes) > REMEMBERED:
            del self._homes[next(iter(self._homes))]

    def missed(self) -> None:
        """Take in that changes may have been missed."""
        self._ahead.hear(None)

    def hear(self, event: Message) -> None:
        """Take in a change as it is republished, without the record itself."""
        self._ahead.hear(event)
        try:
            key = TaskKey.parse(event.subject.removeprefix(subjects.change_subject("")))
        except InvalidRequest:
            return
        known = self._index.tasks.get(key.uuid)
        if HEADER_WAITS in event.headers:
            if known is None or known.key != key or known.revision < event.seq:
                self._heard[key] = event.seq
                self._wake.set()
        else:
            if known is not None and known.key == key:
                self._index.left(key.uuid, event.seq)
            if len(self._index.ready):
                self._wake.set()  # there may be room for another one
        self._hear_of_array(key, event)
        if self._index.is_parent(key.uuid):
            self._stands(key, event.seq, self._standing(event))

    def _hear_of_array(self, key: TaskKey, event: Message) -> None:
        if self._arrays.hear(key, event):
            head = self._arrays.head_of(key)
            if head is not None and (head.progress.throttle or head.is_over):
                self._index.ready.bring_back(self._throttled.pop(head.key, ()))
                self._wake.set()
        elif HEADER_OUTCOME in event.headers and self._arrays.has(key):
            # cancelled, mostly: what that means stands in its record
            self._heard[key] = event.seq
            self._wake.set()

    def _standing(self, event: Message) -> Standing:
        headers = event.headers
        if OPERATION in headers:
            return _GONE
        outcome = headers.get(HEADER_OUTCOME)
        # A worker may write any word there, and a later version one that is not known here.
        if outcome not in _OUTCOMES or HEADER_STATUS not in headers:
            return Standing()
        return Standing(Outcome(outcome), HEADER_PROVISIONAL in headers, self._buckets.clock())

    @staticmethod
    def _is_whole(record: TaskRecord) -> bool:
        return record.waiting_for is None or len(record.waiting_for.parents) == record.waiting_for.count

    async def _parents(self, record: TaskRecord) -> Sequence[Parent] | None:
        """Give all parents; None where nobody can tell, and the task must not start for those that are known alone."""
        if self._is_whole(record):
            return _shown(record)
        spec = await self._buckets.specs.look(str(record.key), leader=True)
        if isinstance(spec, Entry):
            return spec.value.after
        log.warning("releasing.spec_unusable", task=record.uid)
        return None

    # -- what is done --------------------------------------------------------------------------------------------------
    async def look(self) -> float | None:
        """Release what can be released now; gives the seconds until the next look, None: an event will tell.

        Raises what the bus raises; what was not done then is tried at the next look.
        """
        async with self._one_at_a_time:
            await self._read()
            now = self._buckets.clock()
            self._index.wake(now)
            never: list[tuple[Waiting, Never]] = []
            for uuid in list(islice(self._index.suspects, PIECE)):
                verdict = self._index.judge(uuid, now)
                if isinstance(verdict, Never):
                    never.append((self._index.tasks[uuid], verdict))
            for made in await self._making.work():
                await self.note(made)
            await self._release_some()
            await _together(self._end, never)
            soonest = self._index.wake(now)
        if self._index.suspects or self._index.unknown or self._making.is_busy:
            return 0.0
        pause = None if soonest is None else max((soonest - now) / timedelta(seconds=1), 0.0)
        # Workers come, and what they have changes, without a word to us.
        return min(pause or LOOK, LOOK) if len(self._index.ready) else pause

    async def _release_some(self) -> None:
        """Release as many as there is room for. Raises what the bus raises."""
        self._look_at_workers()
        unfit: list[tuple[Waiting, str]] = []
        chosen = choose(
            self._index.ready, self._ahead.room, lambda task: self._stands_back(task, unfit), PIECE
        )
        for task in chosen:
            self._ahead.take(task.key)
        try:
            await _together(self._release, ((task,) for task in chosen))
            await _together(
                self._say_unfit, [(task, why) for task, why in unfit if task.reason != why][:TOGETHER]
            )
        except BaseException:
            for task in chosen:
                if self._index.tasks.get(task.key.uuid) is task:  # nobody knows whether it was released
                    self._ahead.leave(task.key)
                    self._index.suspects[task.key.uuid] = None
            raise

    def _stands_back(self, task: Waiting, unfit: list[tuple[Waiting, str]]) -> bool:
        """Tell whether a task has to let others pass; `unfit` takes in those that no worker can run."""
        if task.resources is not None:
            capacities = self._registry.capacities(task.key.executor, task.key.pool)
            why = fit.unfit(task.resources, capacities)
            if why is not None:
                unfit.append((task, why))
                return True
        head = self._arrays.head_of(task.key)
        if head is None:
            return False
        at = place_of(task.key.uuid)
        if not head.has_room(at) or (head.is_cancelled and task.attempt == 1):
            self._throttled.setdefault(head.key, {})[task.key.uuid] = None
            return True
        # Counted before it is written: the change that tells of it comes later, and the next one may be chosen by then.
        head.states.set(at, task.revision, State.ACTIVE, task.attempt, guess=True)
        return False

    def _look_at_workers(self) -> None:
        """Give those another turn that no worker could run, once there are other workers."""
        seen = {place: self._registry.capacities(*place) for place in self._index.ready.places_held()}
        for place, capacities in seen.items():
            if capacities != self._capacities.get(place):
                self._index.ready.bring_back(self._index.ready.held_at(place))
        self._capacities = seen

    async def _say_unfit(self, task: Waiting, why: str) -> None:
        task.reason = why
        await self._apply(task, Unfit(task.attempt, why))

    async def _read(self) -> None:
        """Read what was only heard of: tasks that wait, and parents of whom nothing is known."""
        heard, self._heard = self._heard, {}
        unsure, self._unsure = self._unsure, {}
        missing = [
            key
            for key, revision in heard.items()
            if (known := self._index.tasks.get(key.uuid)) is None
            or known.key != key
            or known.revision < revision
        ]
        try:
            await _together(self._read_one, ((key,) for key in missing))
            await _together(self._read_parent, [(uuid,) for uuid in self._index.unknown])
            await _together(self._make_sure, [(key, *told) for key, told in unsure.items()])
        except QmeError:
            self._heard = {**heard, **self._heard}
            self._unsure = {**unsure, **self._unsure}
            raise

    async def _make_sure(self, key: TaskKey, revision: int, standing: Standing) -> None:
        if await self._home(key.uuid) == key:
            self._index.stands(key.uuid, revision, standing)

    async def _read_parent(self, uuid: str) -> None:
        home = await self._home(uuid)
        if home is None:
            self._index.stands(uuid, 0, _GONE)  # its spec goes last
        else:
            await self._read_one(home)

    async def _read_one(self, key: TaskKey) -> None:
        seen = await self._buckets.records.look(str(key), leader=True)
        if isinstance(seen, Entry) and seen.value.key == key:
            await self.note(seen)
        elif seen is None or isinstance(seen, Removed):
            self.gone(str(key), seen.revision if seen else 0)
        else:
            self.unusable(str(key), seen.revision)

    async def _release(self, task: Waiting) -> None:
        event = Released(self._buckets.clock(), task.attempt)
        if not await self._apply(task, event):
            self._ahead.leave(task.key)
        elif task.not_before is not None:
            self._metrics.retried.inc()

    async def _end(self, task: Waiting, verdict: Never) -> None:
        home = await self._home(verdict.parent)
        seen = await self._buckets.records.look(str(home), leader=True) if home else None
        now = self._buckets.clock()
        standing = _GONE
        if isinstance(seen, Entry):
            standing = Standing.of(seen.value)
        elif isinstance(seen, Corrupt):
            standing = Standing()
        self._index.stands(verdict.parent, seen.revision if seen else 0, standing)
        parent = Parent(uuid=verdict.parent, on=task.parents[verdict.parent])
        again = edge(parent, standing, now, self._index.settle)
        if not isinstance(again, Never):
            return
        name = seen.value.uid if isinstance(seen, Entry) else verdict.parent
        reason = f"it waits for {_WISHES[parent.on]} of {name}, which {again.why}"
        await self._apply(task, Unmet(task.attempt, verdict.parent, now, reason))

    async def _apply(self, task: Waiting, event: Event) -> bool:
        try:
            done, _ = await self._changes.apply(task.key, event, self._buckets.bus.user)
        except (InvalidRequest, NotFound, Conflict) as error:
            # The janitor reads it again once it changes.
            log.warning("releasing.change_refused", task=task.key.taskid, error=error.message)
            self._index.suspects.pop(task.key.uuid, None)
            self._index.ready.discard(task.key.uuid)
            return False
        if not done.record.waits:
            self._index.left(task.key.uuid, task.revision + 1)
        elif done.unchanged:
            # It stands at a later attempt than the one that was judged, or our clock was set back.
            self._heard[task.key] = task.revision + 1
            if self._index.tasks.get(task.key.uuid) is task:
                self._index.suspects[task.key.uuid] = None
        return not done.unchanged


_WISHES = {On.SUCCESS: "the success", On.FAIL: "the failure", On.ANY: "the end"}


def _shown(record: TaskRecord) -> Sequence[Parent]:
    return record.waiting_for.parents if record.waiting_for else ()


def _revision(told: tuple[int, Standing]) -> int:
    return told[0]


async def _together(call: Callable[..., Awaitable[Any]], each: Iterable[tuple[Any, ...]]) -> None:
    """Make a call with each of these, some at a time; the first error is raised once all have come back."""
    gate = asyncio.Semaphore(TOGETHER)

    async def one(args: tuple[Any, ...]) -> None:
        async with gate:
            await call(*args)

    results = await asyncio.gather(*(one(args) for args in each), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
