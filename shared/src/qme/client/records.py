"""Finds task records: by uuid, by what a person wrote, the user's last one. Lists and searches are in `listing`."""

from __future__ import annotations

from qme.bus.kv import Bucket, Entry, deleted
from qme.bus.port import Bus
from qme.client import selectors
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import LastTask, TaskRecord
from qme.errors import NotFound, RecordCorrupt

#: candidates for a part of an id that are read to see whether they still exist
_READ_AT_MOST = 16


def pretence(entry: Entry[TaskRecord]) -> str | None:
    """Say what is wrong with a record that speaks for another task than the one whose key it has; None: nothing is.

    Whoever may write a key, as a worker may those of its pool, can write anything there.
    """
    if str(entry.value.key) == entry.key:
        return None
    return f"{subjects.BUCKET_TASKS}/{entry.key} can't be read: it says that it is {entry.value.uid}"


class Records:
    """The task bucket as readers see it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
        self._users = Bucket(bus, subjects.BUCKET_USERS, LastTask)

    async def find(self, uuid: str, *, leader: bool = False) -> TaskRecord | None:
        """Give the record of a uuid, None when there is none. Raises RecordCorrupt."""
        entry = await self._tasks.get(subjects.any_key(uuid), leader=leader)
        if entry is None:
            return None
        if (problem := pretence(entry)) is not None:
            raise RecordCorrupt(problem)
        return entry.value

    async def need(self, text: str) -> TaskRecord:
        """Give the record of the task that a person named.

        Raises `selectors.NoId` for what can't be an id, NotFound, `selectors.Ambiguous`, RecordCorrupt.
        """
        if text == selectors.LAST:
            return await self.last()
        key = await self.resolve(text)
        # "No such task" is an answer that people act on, so it is the leader's.
        record = await self.find(key.uuid) or await self.find(key.uuid, leader=True)
        if record is None or key.executor not in ("*", record.executor):
            raise selectors.missing(selectors.parse(text))
        return record

    async def resolve(self, text: str) -> TaskKey:
        """Give the key of the task that a person named; executor and pool are ``*`` where the text says none.

        A whole uuid is taken as it is; a part of one is looked up. Errors as in `need`, but for RecordCorrupt.
        """
        selector = selectors.parse(text)
        if selector.uuid is not None:
            return TaskKey(selector.executor or "*", "*", selector.uuid)
        pattern = subjects.bucket_subject(subjects.BUCKET_TASKS, "*.*.*")
        names = await self._bus.subjects(subjects.bucket_stream(subjects.BUCKET_TASKS), pattern)
        keys = (TaskKey.parse(subjects.bucket_key(subjects.BUCKET_TASKS, name)) for name in names)
        fitting = [key for key in keys if selector.fits(key)]
        if 1 < len(fitting) <= _READ_AT_MOST:
            fitting = [key for key in fitting if await self._exists(key)]
        return selectors.choose(selector, fitting)

    async def last(self) -> TaskRecord:
        """Give the task that this user submitted last, from any host. Raises NotFound."""
        # "The last one" is acted on (rerun, cancel): a replica that is behind would name the one before.
        entry = await self._users.get(self._bus.user, leader=True)
        if entry is None:
            raise NotFound("you have submitted no task yet; `qme run CMD` does")
        uuid = entry.value.uuid
        record = await self.find(uuid) or await self.find(uuid, leader=True)
        if record is None:
            raise NotFound("your last task has been cleared; `qme ls` lists those there are")
        return record

    async def _exists(self, key: TaskKey) -> bool:
        """Tell whether the name in the bucket is a record and not the marker of a deleted one."""
        subject = subjects.bucket_subject(subjects.BUCKET_TASKS, str(key))
        message = await self._bus.last(subjects.bucket_stream(subjects.BUCKET_TASKS), subject, leader=True)
        return message is not None and not deleted(message)
