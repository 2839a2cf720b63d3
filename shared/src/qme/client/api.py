"""`AsyncClient`: every verb that people have, over one connection. Decides nothing; its neighbours do the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from qme.bus.kv import Corrupt
from qme.bus.port import Bus
from qme.client import elements, excerpt, executors, groups, listing, ordering, scripts, waiting
from qme.client.control import Control, batches, checked
from qme.client.listing import Listing, Wanted
from qme.client.output import Output
from qme.client.records import Records
from qme.client.submission import Options, prepare
from qme.client.words import argv_of, needs_shell
from qme.contracts import subjects
from qme.contracts.messages import Asked, MatchReply, Result, Results, Submission, Target
from qme.contracts.output import STREAMS
from qme.contracts.tasks import (
    HEADER_ATTEMPT,
    HEADER_BY,
    HEADER_OUTCOME,
    HEADER_STATUS,
    Parent,
    TaskRecord,
)
from qme.errors import RecordCorrupt, WaitTimedOut
from qme.settings import Settings

if TYPE_CHECKING:
    from qme.client.actions import Actions


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a task's audit trail."""

    at: datetime | None
    taskid: str
    attempt: str
    status: str
    outcome: str
    by: str


class AsyncClient:
    """What a program can do with tasks; not thread-safe, and bound to the event loop that its bus was made in.

    Ids are what a person may write: whole, or a unique part (see `qme.client.selectors`). Methods raise `QmeError`s
    only. Those that change something may be repeated: see `Control`.
    """

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self.bus = bus
        self.settings = settings
        self.records = Records(bus)
        self.control = Control(bus, settings)

    @property
    def user(self) -> str:
        """The name that this connection acts as, as records have it."""
        return subjects.untoken(self.bus.user)

    # -- submit ------------------------------------------------------------------------------------------------------
    async def submit(self, command: str | Sequence[str], options: Options | None = None) -> Result:
        """Submit one command. Raises the refusal, such as NoExecutorMatches."""
        options = options or Options()
        task = prepare(command, options, host=self.settings.host)
        async for result in self.submit_many([self.own(task, await self.parents(options))]):
            return checked(result)
        raise AssertionError("a submission without a result")

    async def parents(self, options: Options) -> Sequence[Parent]:
        """Name the tasks that options say to wait for. Raises NotFound, InvalidRequest."""
        return await groups.parents(self, options)

    def own(self, task: Submission, after: Sequence[Parent] = ()) -> Submission:
        """Make a submission this user's: the uuid that belongs to its key, the pool of the settings, its parents.

        Its uuid is the task's from then on, so one may listen before submitting.
        """
        uuid = subjects.keyed_uuid(self.bus.user, task.key) if task.key else task.uuid
        changed = {"uuid": uuid, "pool": task.pool or self.settings.pool, "after": (*task.after, *after)}
        return task.model_copy(update=changed)

    async def submit_many(self, tasks: Iterable[Submission]) -> AsyncIterator[Result]:
        """Submit what `own` gave; gives results as they come, in order, but for tasks that wait for later ones.

        A refused one is a result with `error`. Raises InvalidRequest where tasks wait for each other in a circle.
        """
        for batch in batches(ordering.parents_first(tasks)):
            async for result in self.control.submit(await scripts.taken_along(batch, self.control.scripts)):
                yield result

    # -- read --------------------------------------------------------------------------------------------------------
    async def get(self, task: str | None = None, *, output: bool = True) -> TaskRecord:
        """Give a task's record, this user's last one's without an id; with its output, up to 64 KiB of each stream."""
        record = await (self.records.last() if task is None else self.records.need(task))
        return await self.with_output(record) if output else record

    async def with_output(self, record: TaskRecord) -> TaskRecord:
        """Give a record with its output, up to 64 KiB of each stream, and with a row for each element of an array."""
        return elements.filled(await excerpt.filled(self.bus, record))

    async def list(self, wanted: Wanted | None = None, limit: int | None = None) -> Listing:
        """List records, newest first."""
        return await listing.newest(self.bus, wanted or Wanted(), limit)

    def stream(self, wanted: Wanted | None = None) -> AsyncIterator[TaskRecord | Corrupt]:
        """Give all records, in the order of their last change, one by one."""
        return listing.stream(self.bus, wanted or Wanted())

    async def search(self, query: str, wanted: Wanted | None = None) -> AsyncIterator[TaskRecord]:
        """Give the records in which a regular expression is found. Raises InvalidRequest for a bad one."""
        from qme.client import searching  # re2

        found = searching.matcher(query)
        async for item in self.stream(wanted):
            if isinstance(item, TaskRecord) and found(item):
                yield item

    async def events(self, task: str) -> AsyncIterator[Change]:
        """Give a task's audit trail, oldest first, also of one that has been cleared."""
        key = await self.records.resolve(task)
        async for message in self.bus.read(subjects.EVENTS, subjects.event_filter(key.uuid)):
            executor, _, uuid = message.subject.split(".")[2:5]
            say = message.headers.get
            status = say(HEADER_STATUS) or "cleared"
            yield Change(
                message.time,
                f"{executor}-{uuid}",
                say(HEADER_ATTEMPT, ""),
                status,
                say(HEADER_OUTCOME, ""),
                say(HEADER_BY, ""),
            )

    async def asked(self, user: str | None = None, since: datetime | None = None) -> AsyncIterator[Asked]:
        """Give what was asked of the submitters, oldest first: by one user, or through them, or by all."""
        async for message in self.bus.read(subjects.EVENTS, subjects.EVERY_REQUEST_EVENT):
            if since is not None and message.time is not None and message.time < since:
                continue
            try:
                event = Asked.model_validate_json(message.data)
            except ValidationError:  # of a version to come
                continue
            if user is None or user == event.user or subjects.token(user) == event.asked_by:
                yield event

    # -- wait and watch ----------------------------------------------------------------------------------------------
    def ended(self, uuids: Iterable[str]) -> AsyncIterator[waiting.Ended]:
        """Give tasks (by uuid) as they end."""
        return waiting.ended(self.bus, uuids)

    async def wait(self, tasks: Sequence[str], timeout: float | None = None) -> Sequence[TaskRecord | None]:
        """Wait until all have ended; gives their records in order, None for one that was cleared meanwhile.

        Raises WaitTimedOut after `timeout` seconds; the tasks go on.
        """
        uuids = [(await self.records.need(task)).uuid for task in tasks]
        found: dict[str, TaskRecord | None] = {}
        try:
            async with asyncio.timeout(timeout):
                async for done in self.ended(uuids):
                    found[done.uuid] = done.record
        except TimeoutError:
            left = len(set(uuids) - found.keys())
            raise WaitTimedOut(
                f"{left} of {len(uuids)} tasks had not ended when the wait timed out, after {timeout:g} s"
            ) from None
        return [found[uuid] for uuid in uuids]

    def output(self, uuid: str, *, attempt: int | None = None, streams: tuple[str, ...] = STREAMS) -> Output:
        """Give a reader of a task's output, stored or live."""
        return Output(self.bus, uuid, attempt=attempt, streams=streams)

    # -- change ------------------------------------------------------------------------------------------------------
    async def targets(self, tasks: Iterable[str], *, unreadable: bool = False) -> Sequence[Target]:
        """Name tasks with the attempt that stands now; `unreadable` takes records that can't be read, too.

        ``@GROUP`` stands for all tasks of a group.
        """
        found: list[Target] = []
        for task in tasks:
            if (group := groups.name_of(task)) is not None:
                found += [groups.target(record) for record in await groups.members(self, group)]
            else:
                found.append(await self._target(task, unreadable))
        return found

    async def _target(self, task: str, unreadable: bool) -> Target:
        try:
            found = await self.records.need(task)
            # The attempt that a change names is the leader's: at an old one it would count as done already.
            record = await self.records.find(found.uuid, leader=True) or found
        except RecordCorrupt:
            if not unreadable:
                raise
            return Target(uuid=(await self.records.resolve(task)).uuid)
        return Target(uuid=record.uuid, attempt=record.attempt)

    def on_behalf(self, person: str) -> Control:
        """Give the control plane as a person has it, for a service that people ask (its login's name says so)."""
        return Control(self.bus, self.settings, behalf=person)

    # -- executors ---------------------------------------------------------------------------------------------------
    async def match(
        self, command: str | Sequence[str], *, executor: str | None = None, pool: str | None = None
    ) -> MatchReply:
        """Explain where a command would go, without submitting it."""
        argv = argv_of(command)
        pool = pool or self.settings.pool
        return await self.control.match(argv, shell=needs_shell(argv), executor=executor, pool=pool)

    async def executors(self) -> Sequence[executors.Known]:
        """List the executors with their workers."""
        return await executors.known(self.bus)

    async def forget(self, executor: str, pool: str | None = None) -> Results:
        """Remove an executor's definition (operators)."""
        return await self.control.on_executor("forget", executor, pool)

    async def approve(self, executor: str, pool: str | None = None) -> Results:
        """Let an executor of a shared pool take its users' commands (operators)."""
        return await self.control.on_executor("approve", executor, pool)

    async def pause(
        self, executor: str, reason: str, *, pool: str | None = None, drain: bool = False
    ) -> Results:
        """Have an executor's workers take nothing new; with `drain` they say when they are done (operators)."""
        return await self.control.pause(executor, pool, reason, drain=drain)

    async def resume(self, executor: str, pool: str | None = None) -> Results:
        """Let an executor's workers take tasks again (operators)."""
        return await self.control.on_executor("resume", executor, pool)

    def actions(self, *, admin: bool = False) -> Actions:
        """Give the actions of tasks; `admin` for an operator's, on others' tasks."""
        from qme.client.actions import Actions  # the executor SDK

        return Actions(self.bus, self.settings, admin=admin)
