"""Keeps the audit trail: copies the headers of each change of a record, as the server republishes them.

The stream can't capture them itself: a compare-and-set write carries the sequence it expects as a header, the server
republishes that header too, and the capturing stream would hold its own messages to it and refuse.

Every submitter copies; the message id (task and revision) leaves one copy. After a gap the records are read from the
last revision that the trail has, so that the state a task came to is never missing; a state that it only passed through
while no submitter was there may be.
"""

from __future__ import annotations

from qme.bus.port import Bus, Message
from qme.contracts import subjects
from qme.contracts.subjects import BUCKET_TASKS, EVENTS
from qme.contracts.tasks import HEADER_REVISION
from qme.errors import QmeError
from qme.observe.logging import get_logger

log = get_logger(__name__)

_ANY_TASK = subjects.event_filter("*")


class Trail:
    """Writes down what happens to tasks."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep(self) -> None:
        """Copy changes until cancelled; survives any loss of the bus."""
        async with self._bus.follow(subjects.CHANGES) as changes:
            await self._catch_up()
            async for change in changes:
                if change is None:
                    await self._catch_up()
                else:
                    await self._note(change.subject, change)

    async def _catch_up(self) -> None:
        """Note the last change of each record that changed after the trail's last event."""
        try:
            last = await self._bus.last(EVENTS, _ANY_TASK, leader=True)
            known = int(last.headers.get(HEADER_REVISION, "0")) if last else 0
            stream = subjects.bucket_stream(BUCKET_TASKS)
            async for record in self._bus.read(stream, start=known + 1):
                key = subjects.bucket_key(BUCKET_TASKS, record.subject)
                await self._note(subjects.change_subject(key), record)
        except QmeError as error:
            log.warning("trail.gap", error=error.message)

    async def _note(self, subject: str, change: Message) -> None:
        headers = {**change.headers, HEADER_REVISION: str(change.seq)}
        uuid = subject.rpartition(".")[2]
        await self._bus.publish(
            subjects.event_of_change(subject), b"", message_id=f"{uuid}.{change.seq}", headers=headers
        )
