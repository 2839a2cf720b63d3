"""What starting, stopping and idling have to know of tasks, asked of the bus. Nothing of processes and files."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from qme.bus.connect import connect
from qme.bus.kv import Bucket, Entry
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.messages import CancelTasks, MatchReply, MatchRequest, Target
from qme.contracts.tasks import TaskRecord
from qme.errors import BusUnavailable, NotFound
from qme.local.stack import Endpoint
from qme.settings import Settings

#: seconds between two questions
_PAUSE = 0.05
_LOOK_PAUSE = 0.5
#: seconds for one answer while the services are starting
_ANSWER = 2.0
#: targets of one request
_BATCH = 1000


@dataclass(slots=True)
class Tally:
    """The tasks on the bus."""

    running: int = 0  #: a worker has them, and they have not ended
    unended: list[Target] = field(default_factory=list)
    latest: float = 0.0  #: when the last one ended, seconds since 1970


async def serving(
    settings: Settings, endpoint: Endpoint, executors: Sequence[str], check: Callable[[], None]
) -> None:
    """Wait until a submitter answers and knows each of the executors. `check` raises when there is no hope."""
    async with _connected(settings, endpoint) as bus:
        while True:
            try:
                reply = await _match(bus)
                if {one.executor for one in reply.candidates}.issuperset(executors):
                    return
            except (NotFound, BusUnavailable):
                pass
            check()
            await asyncio.sleep(_PAUSE)


async def tally(settings: Settings, endpoint: Endpoint) -> Tally:
    """Count the tasks. Raises BusUnavailable, NotFound (the bus was never set up)."""
    async with _connected(settings, endpoint) as bus:
        return await _tally(bus)


async def cancel_all(settings: Settings, endpoint: Endpoint, patience: float) -> int:
    """End all tasks, those that wait too, and give how many have not ended after `patience` seconds. Safe to repeat."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience
    asked: set[str] = set()
    async with _connected(settings, endpoint) as bus:
        while True:
            unended = (await _tally(bus)).unended
            if not unended or clock() >= deadline:
                return len(unended)
            fresh = [target for target in unended if target.uuid not in asked]
            with suppress(NotFound):  # the submitter is being started again
                for start in range(0, len(fresh), _BATCH):
                    await _cancel(bus, fresh[start : start + _BATCH])
                asked.update(target.uuid for target in fresh)
            await asyncio.sleep(_LOOK_PAUSE)


@asynccontextmanager
async def _connected(settings: Settings, endpoint: Endpoint) -> AsyncIterator[Bus]:
    bus = await connect(settings, url=endpoint.url, creds=endpoint.creds, name="local")
    try:
        yield bus
    finally:
        await bus.close()


async def _tally(bus: Bus) -> Tally:
    found = Tally()
    async for entry in Bucket(bus, subjects.BUCKET_TASKS, TaskRecord).scan():
        if not isinstance(entry, Entry):
            continue
        record = entry.value
        if not record.ended:
            found.unended.append(Target(uuid=record.uuid, attempt=record.attempt))
            found.running += record.claim is not None
        elif record.finished:
            found.latest = max(found.latest, record.finished.timestamp())
    return found


async def _match(bus: Bus) -> MatchReply:
    request = MatchRequest(id=str(uuid.uuid4()), expires=_soon(_ANSWER), argv=("true",))
    subject = subjects.api_subject(bus.user, "match")
    answer = await bus.request(subject, request.model_dump_json().encode(), timeout=_ANSWER)
    return MatchReply.model_validate_json(answer)


async def _cancel(bus: Bus, targets: Sequence[Target]) -> None:
    request = CancelTasks(
        id=str(uuid.uuid4()),
        expires=_soon(30.0),
        targets=tuple(targets),
        reason="the local stack was stopped",
    )
    await bus.request(
        subjects.api_subject(bus.user, "cancel"), request.model_dump_json().encode(), timeout=30.0
    )


def _soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
