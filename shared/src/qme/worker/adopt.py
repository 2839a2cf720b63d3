"""What a worker takes up when it starts, or when its bus was set back: the attempts that it, under the same id, held.

The spool is asked first, since what was started stands there; then the records, for claims that were written a moment
before the end, and for what the bus has forgotten. Whether a command may still be started is decided by its token, in
`Attempt.run`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from qme.bus.kv import Entry
from qme.contracts.tasks import Outcome, TaskRecord
from qme.errors import RecordCorrupt
from qme.executor.attempts import AttemptDir
from qme.observe.logging import get_logger
from qme.worker.attempt import Attempt
from qme.worker.claim import Ours, hold
from qme.worker.context import Context
from qme.worker.ending import never_started
from qme.worker.records import RecordEntry
from qme.worker.spooled import is_reported, mark_reported, own_folder

log = get_logger(__name__)


async def from_spool(context: Context) -> AsyncIterator[Attempt]:
    """Give the attempts in the spool whose end is not on the bus yet."""
    for folder in context.spool:
        try:
            attempt = await _from_folder(context, folder)
        except OSError as error:  # one folder that can't be read must not keep the others waiting
            context.spool.pass_over(folder.path, error)
            continue
        if attempt is not None:
            yield attempt


async def _from_folder(context: Context, folder: AttemptDir) -> Attempt | None:
    if is_reported(folder) or (folder.uuid, folder.attempt) in context.held:
        return None
    try:
        entry, read_at = await context.records.read_surely(context.key(folder.uuid))
    except RecordCorrupt as error:
        log.warning("adopt.unreadable", task=folder.uuid, problem=error.message)
        return None
    if entry is None:
        # Cleared, or the bus was rolled back behind it. Not marked: should the record return, we look again.
        log.warning("adopt.record_gone", task=folder.uuid, attempt=folder.attempt)
        return None
    return await take_up(context, folder, entry, read_at)


async def _ours(context: Context, entry: RecordEntry, folder: AttemptDir, read_at: float) -> Ours | None:
    if entry.value.attempt != folder.attempt:
        return Ours(entry, read_at, fresh=False) if _is_open(entry.value, folder, context.worker) else None
    found: RecordEntry | None = entry
    if folder.start.exists() or _was_forgotten(context, entry.value, folder):
        # Given up for lost, or its claim forgotten by the bus: it is ours all the same.
        back = context.records.returned(folder, context.executor.begins)
        found = await context.records.apply_surely(entry.value.key, entry, back)
    held = found is not None and context.records.holds(found.value, folder.attempt)
    return Ours(found, read_at, fresh=False) if found is not None and held else None


def _is_open(record: TaskRecord, folder: AttemptDir, worker: str) -> bool:
    """The attempt is history, but how it ended is not known there, and may be known here."""
    lines = (line for line in record.attempts if line.attempt == folder.attempt)
    return folder.start.exists() and any(
        line.outcome is Outcome.LOST and line.worker == worker for line in lines
    )


async def from_records(context: Context) -> AsyncIterator[Attempt]:
    """Give the attempts of unended tasks that are this worker's, by the record or by what it began, and not held.

    Raises BusUnavailable and NotFound; may be repeated.
    """
    async for seen in context.records.tasks.scan(f"{context.executor.name}.{context.pool}.*"):
        if not isinstance(seen, Entry) or not context.records.is_about_its_key(seen):
            continue
        folder = context.spool.attempt(seen.value.uuid, seen.value.attempt)
        try:
            if not _is_mine(context, seen.value, folder):
                continue
            entry, read_at = await context.records.read_surely(seen.value.key)
            if entry is None or not _is_mine(context, entry.value, folder):
                continue
            attempt = await take_up(context, folder, entry, read_at)
        except (
            RecordCorrupt
        ) as error:  # since the scan: one record that can't be read must not keep the others waiting
            log.warning("adopt.unreadable", task=seen.value.uid, problem=error.message)
            continue
        except OSError as error:
            context.spool.pass_over(folder.path, error)
            continue
        if attempt is not None:
            yield attempt


def _is_mine(context: Context, record: TaskRecord, folder: AttemptDir) -> bool:
    if record.attempt != folder.attempt or context.held.get((folder.uuid, folder.attempt)) is not None:
        return False
    if record.ended:
        return record.provisional and record.worker == context.worker
    return context.records.holds(record, folder.attempt) or _was_forgotten(context, record, folder)


def _was_forgotten(context: Context, record: TaskRecord, folder: AttemptDir) -> bool:
    """Nobody has it by the record, but it was begun here: there is a start token, or what its executor remembers.

    A job of a scheduler has no token; another worker, that finds nothing on its own disk, would submit it again.
    """
    if record.ended or record.claim is not None:
        return False
    if context.executor.lost_by_silence:  # what it begins runs here, and has a token
        return folder.start.exists()
    memory = own_folder(context.settings, context.worker, folder.uuid, folder.attempt)
    return folder.start.exists() or (memory.is_dir() and any(memory.iterdir()))


async def take_up(context: Context, folder: AttemptDir, entry: RecordEntry, read_at: float) -> Attempt | None:
    """Hold an attempt that is this worker's by a record read at that second; None where nothing is left to be done."""
    if entry.value.provisional and not folder.start.exists():
        await never_started(context, entry, folder.attempt)
        mark_reported(folder)
        return None
    which = (folder.uuid, folder.attempt)
    if which in context.held:  # its message was handed out to us again
        return None
    context.held[which] = attempt = None
    try:
        ours = await _ours(context, entry, folder, read_at)
        if ours is None:
            mark_reported(folder)
            return None
        attempt = await hold(context, folder.attempt, ours, context.records.spec(entry.value.key))
        if attempt is not None:
            if attempt.started:  # else it waits for its turn, however long ago it was claimed
                claim = ours.entry.value.claim
                context.admission.count(which, attempt.spec.resources, claim.gpus if claim else ())
            log.info("adopt.taken_up", task=entry.value.uid, attempt=folder.attempt, started=attempt.started)
            context.held[which] = attempt
        return attempt
    finally:
        if attempt is None:
            context.let_go(which)
