"""Waits for tasks to end, by their events: subscribes first, reads then, and reads again whenever an event may be lost.

Nothing is polled but once in a long silence (`following.SILENCE`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from qme.bus.port import Bus, Message
from qme.client.following import patient
from qme.client.records import Records
from qme.contracts import subjects
from qme.contracts.tasks import HEADER_OUTCOME, HEADER_STATUS, TaskRecord
from qme.errors import BusUnavailable, RecordCorrupt

#: above this many tasks, one subscription to everybody's events is cheaper than one each
_SUBSCRIPTIONS = 200
#: records read at the same time
_AT_ONCE = 64

#: tasks that have not ended, with what is wrong with their record
Pending = dict[str, RecordCorrupt | None]


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended; `record` is None for one that does not exist (any more)."""

    uuid: str
    record: TaskRecord | None


async def ended(bus: Bus, uuids: Iterable[str]) -> AsyncIterator[Ended]:
    """Give each task once, as it ends, until all have. A provisionally lost one counts as ended.

    Raises RecordCorrupt once none is left but those whose records can't be read: the others are waited for first.
    """
    pending: Pending = dict.fromkeys(uuids)
    records = Records(bus)
    few = len(pending) <= _SUBSCRIPTIONS
    filters = [subjects.change_filter(uuid) for uuid in pending] if few else [subjects.change_filter("*")]
    async with bus.follow(*filters) as messages:
        async for done in look(records, pending):
            yield done
        if _decided(pending):
            return
        async for news in told(records, messages, pending):
            if news is not None:
                yield news
            elif _decided(pending):
                return


async def told(
    records: Records, messages: AsyncIterator[Message | None], pending: Pending
) -> AsyncIterator[Ended | None]:
    """Give those of `pending` that end from now on, and take them out of it; None after each look. Goes on for ever.

    Tasks may be added at any time, before they can have ended.
    """
    # Of the tasks waited for alone: what happens to others would hide a silence of these.
    async for message in patient(_concerning(messages, pending)):
        suspects = list(pending) if message is None else _suspects(message, pending)
        try:
            async for done in look(records, pending, suspects):
                yield done
        except BusUnavailable:
            continue  # the tasks go on; all are looked at after the next silence or reconnect
        yield None


def _decided(pending: Pending) -> bool:
    """Tell whether nothing is left to wait for."""
    problems = [problem for problem in pending.values() if problem is not None]
    if problems and len(problems) == len(pending):
        raise problems[0]
    return not pending


async def _concerning(
    messages: AsyncIterator[Message | None], pending: Pending
) -> AsyncIterator[Message | None]:
    async for message in messages:
        if message is None or _uuid(message) in pending:
            yield message


def _suspects(event: Message, pending: Pending) -> list[str]:
    if HEADER_STATUS in event.headers and HEADER_OUTCOME not in event.headers:
        return []
    return [uuid] if (uuid := _uuid(event)) in pending else []


def _uuid(event: Message) -> str:
    return event.subject.rpartition(".")[2]


async def look(records: Records, pending: Pending, suspects: list[str] | None = None) -> AsyncIterator[Ended]:
    """Read records, at the leader, and give those that have ended: an event that is still to come tells of the rest."""
    uuids = list(pending) if suspects is None else suspects
    for at in range(0, len(uuids), _AT_ONCE):
        some = uuids[at : at + _AT_ONCE]
        found = await asyncio.gather(*(_find(records, uuid) for uuid in some))
        for uuid, record in zip(some, found, strict=True):
            if uuid not in pending:  # another look was faster
                continue
            if isinstance(record, RecordCorrupt):
                pending[uuid] = record
            elif record is None or record.ended:
                pending.pop(uuid)
                yield Ended(uuid, record)
            else:
                pending[uuid] = None


async def _find(records: Records, uuid: str) -> TaskRecord | RecordCorrupt | None:
    try:
        return await records.find(uuid, leader=True)
    except RecordCorrupt as problem:
        return problem
