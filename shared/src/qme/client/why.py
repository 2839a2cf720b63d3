"""Gathers what a reader can see of a task's surroundings, for `obstacles` to conclude from. Concludes nothing.

What can't be had (a submitter or a worker that does not answer) is left out: the rest is still worth knowing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qme.bus.port import Bus
from qme.client import executors
from qme.client.obstacles import Ancestor, Facts, Obstacle, obstacles, sentence
from qme.client.records import Records
from qme.contracts import subjects
from qme.contracts.tasks import Parent, TaskRecord
from qme.errors import QmeError

if TYPE_CHECKING:
    from qme.client.api import AsyncClient

#: the action by which an executor tells why a task that it holds stands as it does: a list of sentences
ACTION = "why"
#: seconds that a submitter or a worker is given for an answer
PATIENCE = 5.0
#: parents that are looked at
PARENTS = 5


async def obstacle(bus: Bus, uuid: str) -> tuple[bool, str | None]:
    """Tell whether a task has been started (or has ended), and else what it waits for, if that is worth saying."""
    record = await Records(bus).find(uuid)
    if record is None or record.ended:
        return record is not None, None
    place = record.executor, record.pool
    workers, pauses = await asyncio.gather(executors.heartbeats(bus, *place), executors.pauses(bus, *place))
    reason = sentence(
        Facts(record=record, now=datetime.now(UTC), workers=workers, pause=pauses[0] if pauses else None)
    )
    return record.claim is not None and reason is None, reason


async def why(client: AsyncClient, task: str | None = None) -> tuple[TaskRecord, list[Obstacle]]:
    """Give a task and what it waits for; your last one without an id. Errors as in `AsyncClient.get`."""
    record = await client.get(task, output=False)
    return record, obstacles(await gathered(client, record))


async def gathered(client: AsyncClient, record: TaskRecord) -> Facts:
    """Look around a task."""
    now = datetime.now(UTC)
    if record.ended:
        return Facts(record=record, now=now)
    known = [
        one
        for one in await executors.known(client.bus)
        if (one.definition.executor, one.definition.pool) == (record.executor, record.pool)
    ]
    workers = known[0].workers if known else []
    parents = record.waiting_for.parents[:PARENTS] if record.waiting_for else ()
    return Facts(
        record=record,
        now=now,
        workers=workers,
        pause=known[0].pause if known else None,
        known=bool(known),
        approved=known[0].approved if known else False,
        last_seen=None if workers else await _last_seen(client, record),
        parents=await asyncio.gather(*(_ancestor(client, parent) for parent in parents)),
        before=await _before(client.bus, record),
        told=await _told(client, record),
    )


async def _ancestor(client: AsyncClient, parent: Parent) -> Ancestor:
    with suppress(QmeError):
        return Ancestor(parent, await client.records.find(parent.uuid))
    return Ancestor(parent, None)


async def _before(bus: Bus, record: TaskRecord) -> int | None:
    """Count what is queued before it: all of it before a task whose turn has not come, else what has an older id.

    Ids sort by time, and a retry has one that is older than its place.
    """
    if record.claim is not None or record.waiting_for is not None or record.not_before is not None:
        return None
    queue = subjects.queue_filter(record.executor, record.pool)
    names = await bus.subjects(subjects.TASKS, queue)
    return sum(not record.due or name.rpartition(".")[2] < record.uuid for name in names)


async def _last_seen(client: AsyncClient, record: TaskRecord) -> datetime | None:
    """Ask a submitter, which remembers what the bus has forgotten."""
    with suppress(QmeError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            reply = await client.match(["true"], executor=record.executor, pool=record.pool)
        for one in reply.candidates:
            if (one.executor, one.pool) == (record.executor, record.pool):
                return one.seen
    return None


async def _told(client: AsyncClient, record: TaskRecord) -> tuple[str, ...]:
    """Ask its worker, where its executor has something to tell."""
    if record.claim is None:
        return ()
    actions = client.actions()
    with suppress(QmeError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            if any(one.name == ACTION for one in await actions.of(record)):
                answer = await actions.run(record, ACTION)
                return tuple(str(one) for one in answer) if isinstance(answer, list) else ()
    return ()
