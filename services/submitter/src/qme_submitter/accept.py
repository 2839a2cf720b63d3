"""Accepting tasks: check, route, then spec, record, queue message, in this order. No subscriptions here.

A task is accepted once its record is stored, and from then on the answer is its id. Whatever breaks off in between is
finished by the same submission sent again (to any submitter, whatever that one knows of executors) and, once there is a
record, by the janitor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from qme.bus.kv import Corrupt, Entry, Removed
from qme.contracts.messages import Result, Results, Submission, SubmitRequest
from qme.contracts.resources import unfit
from qme.contracts.subjects import TaskKey, any_key, token
from qme.contracts.tasks import LastTask, TaskRecord, TaskSpec, event_headers
from qme.errors import (
    Conflict,
    InvalidRequest,
    LimitReached,
    NoExecutorMatches,
    NotFound,
    NotPermitted,
    QmeError,
    RecordCorrupt,
    TooManyTasks,
    WasCleared,
    to_wire,
)
from qme.lifecycle import Released, advance, new_record, step_headers
from qme.observe.logging import get_logger
from qme_submitter import checks
from qme_submitter.ahead import Ahead
from qme_submitter.buckets import Buckets
from qme_submitter.offers import shown
from qme_submitter.parents import Order, Parents
from qme_submitter.quota import Quota
from qme_submitter.registry import Registry
from qme_submitter.room import Room
from qme_submitter.routing import Decision

log = get_logger(__name__)

#: tasks of one request that are written at the same time
TOGETHER = 64


def _ignore(*_: object) -> None:
    """Count nothing, tell nobody."""


@dataclass
class Acceptor:
    """Turns submissions into tasks; several may run side by side on one bus."""

    buckets: Buckets
    registry: Registry
    room: Room
    quota: Quota
    ahead: Ahead
    #: called for a submission that was there already, and for one that no executor takes
    repeated: Callable[[], None] = _ignore
    unroutable: Callable[[], None] = _ignore
    #: called with the revision and the record of each new task
    accepted: Callable[[int, TaskRecord], None] = _ignore

    def __post_init__(self) -> None:
        self._parents = Parents(self.buckets)

    async def submit(self, request: SubmitRequest, user: str) -> Results:
        """Accept each task of a user's (by name) request, or say why not. Safe to repeat: no second task is made.

        Raises InvalidRequest, and accepts none, where tasks wait for each other in a circle.
        """
        gate = asyncio.Semaphore(TOGETHER)
        order = Order({task.uuid: task.after for task in request.tasks})
        alone = len(request.tasks) == 1

        async def one(submission: Submission) -> Result:
            try:
                await order.parents(submission.uuid)
                async with gate:
                    record = await self.accept(submission, user, remember=submission is request.tasks[-1])
            except QmeError as error:
                order.settle(submission.uuid, error)
                return Result(uuid=submission.uuid, error=to_wire(error)["error"])
            order.settle(submission.uuid)
            return Result(
                uuid=submission.uuid,
                taskid=record.uid,
                record=record if alone else None,
                note=self._note(record) if alone else None,
            )

        results = await asyncio.gather(*(one(submission) for submission in request.tasks))
        accepted = [result.taskid for result in results if result.taskid]
        if accepted and results[-1].taskid is None:
            await self._remember(accepted[-1], user)
        return Results(results=tuple(results))

    async def accept(self, submission: Submission, user: str, *, remember: bool = True) -> TaskRecord:
        """Accept one task and give its record, the stored one for a submission that was there already.

        Raises InvalidRequest, NoExecutorMatches, NotFound (a parent), NotPermitted, LimitReached; BusUnavailable leaves
        open what happened.
        """
        spec = checks.spec_of(submission, user)
        entry = await self._stored(submission, spec)
        # From here on the task is accepted, and nothing that fails may say otherwise.
        also = [self._remember(entry.value.uid, user)] if remember else []
        await asyncio.gather(self._publish(entry), *also)
        return entry.value

    async def _stored(self, submission: Submission, spec: TaskSpec) -> Entry[TaskRecord]:
        try:
            await self.room.check()
            decision = await self._route(submission, spec)
            await self._parents.check(spec.after)
            counted = await self.quota.take(spec.user, spec.uuid)
        except (NoExecutorMatches, NotPermitted, LimitReached, TooManyTasks, NotFound):
            # It may have been accepted when more was known, or by a submitter that knows more.
            found = await self._existing(spec)
            if found is None:
                raise
            return found
        key = TaskKey(decision.executor, decision.pool, spec.uuid)
        try:
            self._check_resources(spec, key)
            checks.check_record(new_record(spec, key, self.buckets.clock()))
            await self.buckets.specs.create(str(key), spec, unless=any_key(spec.uuid))
        except QmeError as error:
            if counted:
                self.quota.give_back(spec.uuid)
            found = await self._existing(spec) if isinstance(error, Conflict) else None
            if found is None:
                raise
            return found
        return await self._record(spec, key)

    def _check_resources(self, spec: TaskSpec, key: TaskKey) -> None:
        definition = self.registry.definition(key.executor, key.pool)
        if spec.resources is None or definition is None or definition.resources:
            return
        raise InvalidRequest(
            f"executor {key.executor} gives its tasks slots only, and can't set aside {spec.resources.words()}; "
            "what its commands run under may take such wishes, as sbatch does"
        )

    async def _route(self, submission: Submission, spec: TaskSpec) -> Decision:
        wanted = {"pool": submission.pool, "executor": submission.executor}
        try:
            return self.registry.routes.route(spec.argv, spec.user, **wanted)
        except (NoExecutorMatches, NotPermitted):
            await self.registry.refresh()
        try:
            return self.registry.routes.route(spec.argv, spec.user, **wanted)
        except NoExecutorMatches:
            self.unroutable()
            raise

    async def _existing(self, spec: TaskSpec) -> Entry[TaskRecord] | None:
        """Finish what an earlier submission of this uuid has begun; None where there is nothing."""
        entry = await self.buckets.specs.look(any_key(spec.uuid), leader=True)
        if entry is None:
            return None
        if isinstance(entry, Removed):
            raise _cleared(spec)
        if isinstance(entry, Corrupt):
            raise RecordCorrupt(entry.problem)
        if not checks.same_request(entry.value, spec):
            what = f"key {spec.key!r} belongs" if spec.key else f"uuid {spec.uuid} belongs"
            raise InvalidRequest(f"{what} to another submission; what was asked under it can't be changed")
        self.repeated()
        return await self._record(entry.value, TaskKey.parse(entry.key))

    async def _record(self, spec: TaskSpec, key: TaskKey) -> Entry[TaskRecord]:
        record = self._fresh(spec, key)
        headers = event_headers(record, spec.user) | step_headers(None, record)
        try:
            revision = await self.buckets.records.create(str(key), record, headers=headers)
        except Conflict:
            entry = await self.buckets.records.look(str(key), leader=True)
            if not (isinstance(entry, Entry) and entry.value.due):
                self.ahead.leave(key)
            if entry is None:
                raise
            if isinstance(entry, Removed):
                raise _cleared(spec) from None
            if isinstance(entry, Corrupt):
                raise RecordCorrupt(entry.problem) from None
            if entry.value.key != key:
                raise RecordCorrupt(f"the record of {key.taskid} says that it is {entry.value.uid}") from None
            record, revision = entry.value, entry.revision
        self._parents.exists(spec.uuid)
        self.accepted(revision, record)
        return Entry(str(key), record, revision)

    def _note(self, record: TaskRecord) -> str | None:
        """Tell who submits that nobody takes the task just now."""
        if record.ended or record.claim or record.waiting_for or record.not_before:
            return None
        place = record.executor, record.pool
        if (pause := self.registry.pause(*place)) is not None:
            return f"{record.executor} (pool {shown(record.pool)}) is {pause.sentence}; the task waits"
        if self.registry.online()[place]:
            why = unfit(record.resources, self.registry.capacities(*place))
            return None if why is None else f"{why}; the task waits for one that has"
        return f"no worker of {record.executor} (pool {record.pool}) is alive; the task waits for one"

    def _fresh(self, spec: TaskSpec, key: TaskKey) -> TaskRecord:
        """Make a task's first record; where there is room for it, it is released in the same write.

        One write less for nearly all, and no gap in which a task waits for nobody.
        """
        now = self.buckets.clock()
        record = new_record(spec, key, now)
        fits = unfit(record.resources, self.registry.capacities(key.executor, key.pool)) is None
        if record.waiting_for or record.array is not None or not fits or not self.ahead.enter(key):
            return record
        return advance(record, Released(now)).record

    async def _publish(self, entry: Entry[TaskRecord]) -> None:
        record = entry.value
        if not record.due:
            return
        try:
            # A repeated one is a duplicate for the bus; one too many, long after, is dropped by its worker.
            await self.buckets.enqueue(record.key, record.attempt, entry=entry)
        except QmeError as error:
            log.warning("submit.message_left_to_janitor", task=record.uid, error=error.message)

    async def _remember(self, uid: str, user: str) -> None:
        try:
            await self.buckets.last.put(token(user), LastTask(uuid=uid[-36:], at=self.buckets.clock()))
        except QmeError as error:
            log.warning("submit.last_not_remembered", task=uid, error=error.message)


def _cleared(spec: TaskSpec) -> WasCleared:
    # Its worker may still hold the first one's start token and output, so the uuid can't be used for a new task.
    what = f"the task of key {spec.key!r}" if spec.key else f"task {spec.uuid}"
    return WasCleared(f"{what} was cleared; submit it under another {'key' if spec.key else 'uuid'}")
