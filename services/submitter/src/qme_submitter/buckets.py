"""The submitter's view of the bus: typed buckets, the queue, and the time. No decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from qme.bus.kv import Bucket, Entry
from qme.bus.port import Ack, Bus
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import LastTask, QueueMessage, TaskRecord, TaskSpec

#: bytes of a queue message from which on its record is left out
LONGEST_MESSAGE = 4096

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


@dataclass
class Buckets:
    """Everything that a submitter writes, on one connection."""

    bus: Bus
    clock: Clock = utc_now
    specs: Bucket[TaskSpec] = field(init=False)
    records: Bucket[TaskRecord] = field(init=False)
    last: Bucket[LastTask] = field(init=False)

    def __post_init__(self) -> None:
        self.specs = Bucket(self.bus, subjects.BUCKET_SPECS, TaskSpec)
        self.records = Bucket(self.bus, subjects.BUCKET_TASKS, TaskRecord)
        self.last = Bucket(self.bus, subjects.BUCKET_USERS, LastTask)

    async def enqueue(
        self, key: TaskKey, attempt: int, *, entry: Entry[TaskRecord] | None = None, repair: bool = False
    ) -> Ack:
        """Publish the queue message of an attempt, with its record where `entry` gives it.

        A repeated call within two minutes is a duplicate and stores nothing; a `repair` always stores. A message too
        many is harmless: only the claim in the record starts a command.
        """
        short = QueueMessage(uuid=key.uuid, attempt=attempt)
        data = short.model_dump_json(exclude_defaults=True).encode()
        if entry is not None:
            whole = short.model_copy(update={"record": entry.value, "revision": entry.revision})
            told = whole.model_dump_json().encode()
            data = told if len(told) <= LONGEST_MESSAGE else data
        return await self.bus.append(
            subjects.queue_subject(key),
            data,
            message_id=None if repair else subjects.message_id(key.uuid, attempt),
        )

    async def queued(self, key: TaskKey) -> bool:
        """Tell, by the leader's word, whether the task has a queue message."""
        return await self.bus.last(subjects.TASKS, subjects.queue_subject(key), leader=True) is not None

    async def dequeue(self, key: TaskKey) -> None:
        """Remove the task's queue messages, if there are any."""
        await self.bus.purge(subjects.TASKS, subjects.queue_subject(key))
