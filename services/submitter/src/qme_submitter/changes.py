"""Cancel, rerun and clear: whose task it is, the change of its record, and what follows from it. No subscriptions here.

Ownership comes from the spec, which submitters alone write; a record is written by workers too. A change is the
lifecycle event applied to what the leader says now, again after every conflict. What follows (queue message, nudge) is
done after the write and may fail: the janitor and the worker find in the record what is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from qme.bus.kv import Corrupt, Entry, Removed
from qme.contracts import subjects
from qme.contracts.messages import ActionRequest, Result, Target
from qme.contracts.subjects import TaskKey, action_subject, any_key, is_uuid
from qme.contracts.tasks import Parent, TaskRecord, event_headers
from qme.errors import (
    Conflict,
    IllegalTransition,
    InvalidRequest,
    NoExecutorMatches,
    NotFound,
    NotPermitted,
    QmeError,
    RecordCorrupt,
)
from qme.lifecycle import (
    CancelAsked,
    Dequeue,
    Enqueue,
    Event,
    Nudge,
    Rerun,
    Transition,
    advance,
    step_headers,
    waiting_for,
)
from qme.observe.logging import get_logger
from qme_submitter.ahead import Ahead
from qme_submitter.buckets import Buckets
from qme_submitter.offers import shown
from qme_submitter.parents import Order
from qme_submitter.registry import Registry
from qme_submitter.removal import Removal, SpecSeen

log = get_logger(__name__)

#: compare-and-set rounds before giving up; each lost one means that somebody else got on
ROUNDS = 20
#: specs that are read at the same time
TOGETHER = 64
#: seconds that a worker has to answer a nudge; it reads the record at its next heartbeat anyway
NUDGE_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, by authenticated name; an operator may change others' tasks."""

    name: str
    operator: bool = False


@dataclass
class Changes:
    """Changes tasks on behalf of users; several may run side by side."""

    buckets: Buckets
    registry: Registry
    removal: Removal
    ahead: Ahead

    async def cancel(self, target: Target, asker: Asker, reason: str | None = None) -> Result:
        """End a task, or record the wish for its worker. An ended one, or one at another attempt, is "already"."""
        _, key = await self._found(target.uuid, asker)
        event = CancelAsked(asker.name, self.buckets.clock(), target.attempt, reason)
        done, notes = await self.apply(key, event, asker.name)
        record = done.record
        if _stale(target, record) or not (record.claim or record.provisional):
            return _result(record, already=done.unchanged)
        return _result(record, note=notes or "asked", already=done.unchanged)

    async def rerun(self, target: Target, asker: Asker, *, force: bool = False) -> Result:
        """Start another attempt of an ended task; at another attempt than the one seen it is "already"."""
        spec, key = await self._found(target.uuid, asker)
        if not isinstance(spec, Entry):
            raise RecordCorrupt(
                f"what was submitted as {target.uuid} is gone; an operator can clear the task"
            )
        if spec.value.array is not None:
            raise InvalidRequest(
                f"{key.taskid} is an array, which runs nothing itself: rerun tasks of it, or --failed @GROUP"
            )
        await self._still_admitted(spec.value.user, key)
        # Its parents are judged again, as they stand then.
        waits = waiting_for(spec.value.after)
        element = spec.value.element
        throttled = element is not None and element.throttle > 0
        at_once = waits is None and not throttled and self.ahead.enter(key)
        event = Rerun(asker.name, self.buckets.clock(), target.attempt, force, waits, at_once=at_once)
        try:
            done, _ = await self.apply(key, event, asker.name)
        except QmeError:
            self.ahead.leave(key)
            raise
        if at_once and done.unchanged:
            self.ahead.leave(key)
        return _result(done.record, already=done.unchanged)

    async def order(self, targets: Sequence[Target]) -> Order:
        """Find out which of several tasks wait for which: a parent's rerun has to be known before its child's."""
        gate = asyncio.Semaphore(TOGETHER)

        async def parents(target: Target) -> Sequence[Parent]:
            if not is_uuid(target.uuid):
                return ()  # it is refused by itself
            async with gate:
                spec = await self.buckets.specs.look(any_key(target.uuid), leader=True)
            return spec.value.after if isinstance(spec, Entry) else ()

        if len(targets) == 1:
            return Order({targets[0].uuid: ()})
        found = await asyncio.gather(*(parents(target) for target in targets))
        return Order({target.uuid: each for target, each in zip(targets, found, strict=True)})

    async def clear(
        self, target: Target, asker: Asker, *, cancel: bool = False, force: bool = False
    ) -> Result:
        """Remove an ended task with its spec and output; safe to repeat after any break.

        `cancel` ends a running one first: Conflict says that it has not ended yet, ask again. `force` takes a record
        that can't be read.
        """
        uuid = target.uuid
        if await self._cleared(uuid):
            return Result(uuid=uuid, already=True)
        spec, key = await self._found(uuid, asker, force=force)
        for _ in range(ROUNDS):
            entry = await self.buckets.records.look(str(key), leader=True)
            if entry is None:
                raise NotFound(f"there is no task {uuid}")
            if isinstance(entry, Removed):
                break
            if isinstance(entry, Entry) and _stale(target, entry.value):
                note = f"not cleared: it is at attempt {entry.value.attempt} now"
                return _result(entry.value, note=note, already=True)
            if isinstance(entry, Entry) and cancel and not entry.value.ended:
                await self._end_first(target, key, asker)
                continue
            _check_clearable(entry, uuid, force=force)
            try:
                await self.removal.decide(key, entry.revision)
                break
            except Conflict:
                continue
        else:
            raise Conflict(f"{key.taskid} keeps changing; ask again")
        await self.removal.follow_up(key, spec)
        return Result(uuid=uuid, taskid=key.taskid)

    async def _end_first(self, target: Target, key: TaskKey, asker: Asker) -> None:
        event = CancelAsked(asker.name, self.buckets.clock(), target.attempt)
        done, _ = await self.apply(key, event, asker.name)
        if not done.record.ended:
            where = self._whereabouts(done.record)
            raise Conflict(
                f"{key.taskid} was asked to end and has not yet ({where}); clear it again once it has"
            )

    async def _cleared(self, uuid: str) -> bool:
        _check_uuid(uuid)
        if not isinstance(await self.buckets.specs.look(any_key(uuid), leader=True), Removed):
            return False
        return not isinstance(await self.buckets.records.look(any_key(uuid), leader=True), (Entry, Corrupt))

    # -- whose it is ---------------------------------------------------------------------------------------------------
    async def _found(
        self, uuid: str, asker: Asker, *, force: bool = False
    ) -> tuple[SpecSeen | None, TaskKey]:
        """Find a task for somebody who may change it, by its spec; without one only for an operator."""
        _check_uuid(uuid)
        spec = await self.buckets.specs.look(any_key(uuid), leader=True)
        if isinstance(spec, Entry):
            if not asker.operator and spec.value.user != asker.name:
                raise NotPermitted(f"task {uuid} is {spec.value.user}'s; an operator can change it")
            return spec, TaskKey.parse(spec.key)
        if isinstance(spec, Corrupt):
            if not (asker.operator and force):
                raise RecordCorrupt(f"{spec.problem}; an operator can remove it: qme clear {uuid} --force")
            return spec, TaskKey.parse(spec.key)
        record = await self.buckets.records.look(any_key(uuid), leader=True)
        if record is None or isinstance(record, Removed):
            raise NotFound(f"there is no task {uuid}")
        if not asker.operator:
            raise NotPermitted(f"nobody can tell any more whose task {uuid} is; an operator can clear it")
        return None, TaskKey.parse(record.key)

    async def _still_admitted(self, user: str, key: TaskKey) -> None:
        for fresh in (False, True):
            if fresh:
                await self.registry.refresh()
            group = self.registry.routes.view(user).groups.get(key.executor)
            if group is not None and key.pool in group.pools:
                return
        raise NoExecutorMatches(
            f"executor {key.executor} takes nothing from {user} in pool {shown(key.pool)} any more"
        )

    # -- the change ----------------------------------------------------------------------------------------------------
    async def apply(
        self, key: TaskKey, event: Event, by: str, *, revision: int | None = None
    ) -> tuple[Transition, str]:
        """Apply an event to the record as it stands; give the transition and what to tell about its effects.

        With a `revision` only to the record that stands there: Conflict once it has changed. Raises InvalidRequest
        where the task's state does not allow the event. Safe to repeat.
        """
        for _ in range(ROUNDS):
            entry = await self.buckets.records.get(str(key), leader=True)
            if entry is None:
                raise NotFound(f"there is no task {key.uuid}")
            if entry.value.key != key:
                # Its pool's worker wrote that; what follows from it must not reach another pool.
                raise RecordCorrupt(f"the record of {key.taskid} says that it is {entry.value.uid}")
            if revision not in (None, entry.revision):
                raise Conflict(f"{key.taskid} has changed meanwhile")
            try:
                done = advance(entry.value, event)
            except IllegalTransition as refusal:
                raise InvalidRequest(refusal.message) from None
            try:
                revision_now = entry.revision
                if not done.unchanged:
                    headers = event_headers(done.record, by) | step_headers(entry.value, done.record)
                    revision_now = await self.buckets.records.update(
                        str(key), done.record, entry.revision, headers=headers
                    )
            except Conflict:
                continue
            return done, await self._follow_up(done, Entry(str(key), done.record, revision_now))
        raise Conflict(f"{key.taskid} keeps changing; ask again")

    async def _follow_up(self, done: Transition, entry: Entry[TaskRecord]) -> str:
        notes = []
        for effect in done.effects:
            try:
                match effect:
                    case Enqueue():
                        ack = await self.buckets.enqueue(effect.key, effect.attempt, entry=entry)
                        if ack.duplicate:
                            log.error("changes.new_attempt_taken_for_old", task=effect.key.taskid)
                    case Dequeue():
                        await self.buckets.dequeue(effect.key)
                    case Nudge():
                        await self._nudge(effect, done.record)
            except NotFound:
                # Nobody answers where the worker did: it is away, and reads the record when it comes back.
                notes.append(f"asked; {self._whereabouts(done.record)}")
            except QmeError as error:
                log.warning("changes.follow_up_failed", task=done.record.uid, error=error.message)
                if isinstance(effect, Nudge):
                    notes.append(f"asked; {self._whereabouts(done.record)}")
        return "; ".join(notes)

    async def _nudge(self, nudge: Nudge, record: TaskRecord) -> None:
        subjects.untoken(nudge.worker)  # a worker's own words become a subject only if they are one token
        bus = self.buckets.bus
        expires = self.buckets.clock() + timedelta(seconds=NUDGE_TIMEOUT)
        request = ActionRequest(uuid=nudge.key.uuid, attempt=record.attempt, expires=expires)
        where = action_subject(bus.user, nudge.key.executor, nudge.key.pool, nudge.worker)
        await bus.request(where, request.model_dump_json().encode(), timeout=NUDGE_TIMEOUT)

    def _whereabouts(self, record: TaskRecord) -> str:
        worker = record.claim.worker if record.claim else record.worker
        if worker is None:
            return "no worker has it"
        silence = self.registry.silence(record.executor, record.pool, worker)
        seen = "has not been seen lately" if silence is None else f"last seen {silence:.0f} s ago"
        runs = "may still run" if record.provisional else "runs"
        return f"{runs} on {worker}, {seen}"


def _check_uuid(uuid: str) -> None:
    # Before it stands in a key: a wildcard there would find another's task.
    if not is_uuid(uuid):
        raise InvalidRequest(f"{uuid[:60]!r} is no uuid")


def _stale(target: Target, record: TaskRecord) -> bool:
    return target.attempt is not None and target.attempt != record.attempt


def _check_clearable(entry: Entry[TaskRecord] | Corrupt, uuid: str, *, force: bool) -> None:
    if isinstance(entry, Corrupt):
        if not force:
            raise RecordCorrupt(f"{entry.problem}; qme clear {uuid} --force removes it")
    elif not entry.value.ended:
        status = entry.value.status
        raise InvalidRequest(f"{entry.value.uid} is {status}; cancel it first, or clear it with --cancel")


def _result(record: TaskRecord, *, note: str | None = None, already: bool = False) -> Result:
    return Result(uuid=record.uuid, taskid=record.uid, record=record, note=note, already=already)
