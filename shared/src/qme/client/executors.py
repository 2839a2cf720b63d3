"""Who runs tasks: the definitions, approvals and heartbeats in the bucket of executors, put together. Reading only."""

from __future__ import annotations

from dataclasses import dataclass, field

from qme.bus.kv import Bucket, Entry
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.executors import Approval, Definition, Heartbeat, Pause
from qme.contracts.tasks import TaskRecord


@dataclass(slots=True)
class Known:
    """An executor in a pool."""

    definition: Definition
    approval: Approval | None = None
    workers: list[Heartbeat] = field(default_factory=list)  #: those alive
    pause: Pause | None = None  #: it takes nothing new

    @property
    def approved(self) -> bool:
        """Commands of other users may go there."""
        if self.definition.personal:
            return True
        return self.approval is not None and self.approval.covers(self.definition)


async def known(bus: Bus) -> list[Known]:
    """List the executors by name and pool, each with the workers that are alive.

    What can't be read is left out, and what speaks for another place than the one whose rights it was written with.
    """
    found: dict[tuple[str, str], Known] = {}
    async for definition in Bucket(bus, subjects.BUCKET_EXECUTORS, Definition).scan("def.*.*"):
        if isinstance(definition, Entry):
            place = definition.value.executor, definition.value.pool
            if definition.key == subjects.definition_key(*place):
                found[place] = Known(definition.value)
    async for approval in Bucket(bus, subjects.BUCKET_EXECUTORS, Approval).scan("ok.*.*"):
        _, executor, pool = approval.key.split(".")
        if isinstance(approval, Entry) and (executor, pool) in found:
            found[executor, pool].approval = approval.value
    for pause in await pauses(bus):
        if (pause.executor, pause.pool) in found:
            found[pause.executor, pause.pool].pause = pause
    for beat in await heartbeats(bus):
        if (beat.executor, beat.pool) in found:
            found[beat.executor, beat.pool].workers.append(beat)
    return [found[place] for place in sorted(found)]


async def pauses(bus: Bus, executor: str = "*", pool: str = "*") -> list[Pause]:
    """List what operators have paused, all of it or one executor's in one pool."""
    bucket = Bucket(bus, subjects.BUCKET_EXECUTORS, Pause)
    return [
        item.value
        async for item in bucket.scan(subjects.pause_key(executor, pool))
        if isinstance(item, Entry) and item.key == subjects.pause_key(item.value.executor, item.value.pool)
    ]


async def heartbeats(bus: Bus, executor: str = "*", pool: str = "*") -> list[Heartbeat]:
    """List the workers that are alive, those of one executor and pool where these are given.

    A worker that misses three beats is gone from the bucket by the server's clock. No other one is looked at: a worker
    whose clock is wrong is alive nonetheless.
    """
    bucket = Bucket(bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    return [
        item.value
        async for item in bucket.scan(subjects.heartbeat_key(executor, pool, "*"))
        if isinstance(item, Entry) and item.key == _key_of(item.value)
    ]


def _key_of(beat: Heartbeat) -> str:
    return subjects.heartbeat_key(beat.executor, beat.pool, beat.worker)


async def definition_of(bus: Bus, record: TaskRecord) -> Definition | None:
    """Give the definition of the executor that a task went to; None when it was forgotten."""
    bucket = Bucket(bus, subjects.BUCKET_EXECUTORS, Definition)
    entry = await bucket.get(subjects.definition_key(record.executor, record.pool))
    return None if entry is None else entry.value
