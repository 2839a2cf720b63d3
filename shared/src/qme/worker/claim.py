"""From a queue message to an attempt: what is dropped, and the one write that makes a task this worker's.

Only the compare-and-set claim protects: messages come twice, late, and after their task has gone. So a message is
dropped because of what the leader says, never because of its delivery count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace

from pydantic import ValidationError

from qme.bus.kv import Entry
from qme.bus.port import Delivery
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, QueueMessage, TaskRecord, TaskSpec
from qme.errors import BusUnavailable, Conflict, InvalidRequest, NotFound, QmeError, RecordCorrupt
from qme.lifecycle import Claimed, Ended, Started, advance
from qme.observe.logging import get_logger
from qme.worker.admission import NoRoom, TooBig
from qme.worker.attempt import Attempt
from qme.worker.clock import now, uptime
from qme.worker.context import Context
from qme.worker.records import FIRST_PAUSE, LONGEST_PAUSE, RecordEntry
from qme.worker.unfit import say_unfit

log = get_logger(__name__)

#: seconds before a message is handed out again that could not be judged, or whose task is being claimed already
AGAIN = 5.0


@dataclass(frozen=True, slots=True)
class Dropped:
    """The message has nothing to start; why, for the log."""

    why: str


class NotNow(QmeError):
    """What the bus shows may be older than what other workers know."""


@dataclass(frozen=True, slots=True)
class Ours:
    """The record gives the attempt to this worker."""

    entry: RecordEntry
    read_at: float  #: second of CLOCK_BOOTTIME at which that was true
    fresh: bool  #: since just now, so that nothing of it can have been started


def refusal(record: TaskRecord, attempt: int) -> str | None:
    """Say why a message about this attempt starts nothing; None: it is due."""
    if record.attempt != attempt:
        return f"it is about attempt {attempt}, the task is at {record.attempt}"
    if record.ended:
        return "the task has ended"
    if record.array is not None:
        return "it is the head of an array"
    if record.cancel is not None:
        return "the task is to be cancelled"
    if record.claim is not None:
        return f"claimed by {record.claim.worker}"
    return None if record.due else "the task is not released"


async def take(context: Context, delivery: Delivery) -> Attempt | None:
    """Claim what a message is about; None when there is nothing to run. The message is answered in any case.

    Cancelling this may leave a claim without an attempt: the worker finds it when it starts again.
    """
    try:
        message = _parse(context, delivery)
    except InvalidRequest as error:
        await _unusable(delivery, error)
        return None
    key, which = context.key(message.uuid), (message.uuid, message.attempt)
    if context.paused or context.settling:  # it had been asked for before
        await _answer(delivery.nak(AGAIN))
        return None
    if which in context.held:
        await _answer(delivery.nak(AGAIN))  # it may be ours in a moment; then its record says so
        return None
    context.held[which] = attempt = None
    spec = asyncio.create_task(context.records.spec(key))
    try:
        found = await _claim(context, key, message, delivery)
        await _answer(delivery.ack())
        if isinstance(found, Dropped):
            log.info("queue.dropped", task=message.uuid, attempt=message.attempt, why=found.why)
        else:
            attempt = context.held[which] = await hold(context, message.attempt, found, spec)
    except RecordCorrupt as error:
        await _unusable(delivery, error)
    except (BusUnavailable, NotFound, NotNow) as error:
        log.warning("queue.wait", task=message.uuid, problem=error.message)
        await _answer(delivery.nak(AGAIN))
    except NoRoom as error:
        log.debug("queue.no_room", task=message.uuid, why=error.message)
        await _answer(delivery.nak(error.delay))
    finally:
        spec.cancel()
        await asyncio.gather(spec, return_exceptions=True)
        if attempt is None:
            context.let_go(which)
    return attempt


async def hold(context: Context, number: int, ours: Ours, spec: Awaitable[TaskSpec | None]) -> Attempt | None:
    """Make an attempt of what is ours; None where its spec is gone or can't be read, and it ended because of that."""
    key = ours.entry.value.key
    problem = "what was submitted is gone"
    try:
        found = await _within_patience(context, key, spec)
    except RecordCorrupt as error:
        found, problem = None, error.message
    if found is not None:
        return Attempt(context, ours.entry, found, number, read_at=ours.read_at, fresh=ours.fresh)
    await context.records.apply_surely(
        key, ours.entry, Ended(number, Outcome.SUBMIT_FAILED, now(), reason=problem, worker=context.worker)
    )
    return None


async def _within_patience(
    context: Context, key: TaskKey, spec: Awaitable[TaskSpec | None]
) -> TaskSpec | None:
    try:
        return await spec
    except (BusUnavailable, NotFound):
        return await context.records.spec_surely(key)


async def _unusable(delivery: Delivery, error: QmeError) -> None:
    await _answer(delivery.term(error.message))
    log.error("queue.unusable", subject=delivery.message.subject, problem=error.message)


async def _answer(answer: Awaitable[None]) -> None:
    # Unanswered, the message comes again, and its record tells what to do with it.
    with suppress(QmeError):
        await answer


def _parse(context: Context, delivery: Delivery) -> QueueMessage:
    try:
        message = QueueMessage.model_validate_json(delivery.message.data)
    except ValidationError as error:
        raise InvalidRequest("the queue message can't be read") from error
    if not subjects.is_uuid(message.uuid) or message.attempt < 1:
        raise InvalidRequest("the queue message names no attempt")
    if delivery.message.subject != subjects.queue_subject(context.key(message.uuid)):
        raise InvalidRequest("the queue message is about another task than its subject")
    return message


async def _admit(context: Context, entry: RecordEntry, number: int, delivery: Delivery) -> bool:
    """Get room for a task that is due; tells whether it had to wait for it. Raises NoRoom."""
    asked, which = entry.value.resources, (entry.value.uuid, number)

    def is_open() -> bool:
        return not (context.paused or context.settling)

    async def is_due() -> bool:
        with suppress(QmeError):  # a sign, or an answer, that gets lost is followed by the next one
            await delivery.in_progress()
            seen = await context.records.read(entry.value.key, leader=False)
            return seen is None or refusal(seen.value, number) is None
        return True

    if not context.admission.asking:
        await context.ahead.turn(lambda: context.admission.has_slot)
        if not is_open():
            raise NoRoom("nothing new is taken")
    try:
        return await context.admission.enter(which, asked, still=is_due, is_open=is_open)
    except TooBig:
        delay = await say_unfit(context, entry, number)
        raise NoRoom("it asks for more than this worker has", delay) from None


async def _claim(context: Context, key: TaskKey, message: QueueMessage, delivery: Delivery) -> Ours | Dropped:
    number, pause, read_at = message.attempt, FIRST_PAUSE, uptime()
    claim = context.records.claim(number)
    entry = _as_released(key, message)
    if entry is None:
        entry = await context.records.read(key)
    while entry is not None:
        record = entry.value
        if record.claim is not None and record.claim.worker == context.worker and record.attempt == number:
            # Written just now with its answer lost (the nonce tells), or by us before a restart: ours either way.
            # Another message on the same attempt can't be here, `held` keeps it out.
            return Ours(entry, read_at, fresh=record.claim.nonce == claim.nonce)
        if why := refusal(record, number):
            return Dropped(why)
        if not await _admit(context, entry, number, delivery):
            read_at = uptime()
            try:
                return Ours(await _write(context, key, entry, claim), read_at, fresh=True)
            except Conflict:
                context.metrics.write_conflicts.inc()
            except BusUnavailable as error:
                log.warning("claim.wait", task=key.uuid, problem=error.message, seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        entry, read_at = await context.records.read_surely(key)
    return Dropped("its record is gone")


def _as_released(key: TaskKey, message: QueueMessage) -> RecordEntry | None:
    """Take the record from the message: a claim at its revision proves it true. What drops anything is read."""
    record = message.record
    if record is None or message.revision < 1 or record.key != key or refusal(record, message.attempt):
        return None
    return Entry(str(key), record, message.revision)


async def _write(context: Context, key: TaskKey, entry: RecordEntry, claim: Claimed) -> RecordEntry:
    record = entry.value
    claim = replace(claim, gpus=context.admission.granted((key.uuid, claim.attempt)).gpus)
    for event in (claim, Started(claim.attempt, now(), context.executor.begins)):
        record = advance(record, event).record
    if context.settling:  # since this was begun: another worker may have claimed it, and say so now
        raise NotNow("the bus has just come back")
    return await context.records.write(key, entry, record)
