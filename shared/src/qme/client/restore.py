"""A backup back onto a bus that no submitter serves. Reads what `backup` wrote.

Tasks that waited when the backup was made may have been started since, by a worker whose start token stands on its own
disk: that worker would find it, another one of its pool would not. So whoever restores says what becomes of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from qme.bus.kv import Bucket, Entry
from qme.bus.port import Bus
from qme.client import backup
from qme.client.backup import Backup, Part
from qme.contracts import subjects
from qme.contracts.tasks import TaskRecord, event_headers
from qme.errors import BusUnavailable, InvalidRequest, NotFound
from qme.lifecycle import CancelAsked, advance, step_headers

#: seconds for a submitter to answer, if there is one
_ANSWER = 2.0
_RECORDS = subjects.bucket_stream(subjects.BUCKET_TASKS)

Waiting = Literal["run", "cancel"]


async def put_back(
    bus: Bus, folder: Path, *, replicas: int, waiting: Waiting, replace: bool = False
) -> list[tuple[Part, int]]:
    """Restore each stream, and give them with the number of tasks that were cancelled in it.

    `waiting`: what becomes of tasks that nobody had started: they run, or are cancelled for their owners to rerun.
    `replace`: also over tasks that are on the bus. After a break it is to be repeated, with `replace`.
    Raises InvalidRequest before anything was changed; BusUnavailable, OSError.
    """
    target = backup.archive(bus)
    found = backup.read(folder)
    await _check(bus, found, replace=replace)
    done = []
    for part in found.parts:
        await target.remove_stream(part.stream)
        await target.restore_stream(part.about, backup.pieces(folder, part), replicas=replicas)
        # Before the queue is there, which could hand one of them out.
        cancelled = await _cancel_waiting(bus, found) if _is_to_end(part, waiting) else 0
        done.append((part, cancelled))
    return done


async def _check(bus: Bus, found: Backup, *, replace: bool) -> None:
    strangers = [part.stream for part in found.parts if part.stream not in backup.ORDER]
    if strangers:
        raise InvalidRequest(f"the backup has a stream that is none of qme's: {strangers[0]}")
    try:
        await bus.request(subjects.api_subject(bus.user, "match"), b"{}", timeout=_ANSWER)
    except NotFound:
        pass
    except BusUnavailable:
        raise InvalidRequest("a submitter may serve this bus and does not answer; stop it first") from None
    else:
        raise InvalidRequest("a submitter serves this bus; stop all submitters, then restore")
    try:
        tasks = (await bus.state(_RECORDS)).messages
    except NotFound:
        return
    if tasks and not replace:
        raise InvalidRequest(
            f"there are {tasks} tasks on this bus; --replace puts the backup in their place, for good"
        )


def _is_to_end(part: Part, waiting: Waiting) -> bool:
    return part.stream == _RECORDS and waiting == "cancel"


async def _cancel_waiting(bus: Bus, found: Backup) -> int:
    bucket = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
    reason = f"it waited in the backup of {found.made:%Y-%m-%d %H:%M} UTC and may have run since; `qme rerun` runs it"
    count = 0
    async for seen in bucket.scan():
        if not isinstance(seen, Entry) or seen.value.ended or seen.value.claim is not None:
            continue
        wish = CancelAsked(subjects.untoken(bus.user), found.made, seen.value.attempt, reason)
        record = advance(seen.value, wish).record
        headers = event_headers(record, bus.user) | step_headers(seen.value, record)
        await bucket.update(seen.key, record, seen.revision, headers=headers)
        count += 1
    return count
