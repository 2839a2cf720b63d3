"""One worker at work: the queue, the attempts, and the chores beside them. Reads no settings file and no signal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from qme.bus.port import Delivery
from qme.contracts import subjects
from qme.errors import BusUnavailable, NotFound, QmeError
from qme.observe.logging import get_logger
from qme.worker import adopt, spooled
from qme.worker.actions import Actions
from qme.worker.attempt import Attempt
from qme.worker.claim import take
from qme.worker.connection import ready
from qme.worker.context import Context
from qme.worker.presence import Presence
from qme.worker.takeover import Watch

log = get_logger(__name__)

#: seconds between two cleanings of the spool, and before the first: a worker may be restarted often
CLEANING, FIRST_CLEANING = 1800.0, 60.0
#: seconds before records that could not be read are read again
AGAIN = 2.0
#: seconds that taking leave of the bus may take
LEAVE = 2.0
#: records looked at together for wishes to cancel
TOGETHER = 32
_FULL = "the disk of its spool is full"
_DRAINING = "draining"


class Worker:
    """One worker at work."""

    def __init__(self, context: Context, users: tuple[str, ...] = ()) -> None:
        self._context = context
        self._presence = Presence(context, users)
        self._freed = asyncio.Event()
        #: messages that are not answered yet
        self._handed: set[Delivery] = set()
        self._pulling: asyncio.Task[None] | None = None
        self._others = Watch(context)
        #: nothing new was taken when this was looked at last
        self._closed = False
        #: the bus is set up, and tasks are taken or kept
        self.at_work = False
        #: what the records give us is held: the folders of all else may be cleaned away
        self._adopted = asyncio.Event()

    async def run(self) -> None:
        """Work for ever. Cancelling this hands over: commands go on, the next worker on this spool takes them up."""
        context = self._context
        await ready(context.bus, context.executor.name, context.pool)
        await context.keeper.connect()
        await context.executor.open()
        log.info("worker.ready", worker=context.worker, pool=context.pool, slots=context.slots)
        try:
            async with Actions(context).serve(), asyncio.TaskGroup() as group:
                group.create_task(context.logs.run())
                group.create_task(self._presence.run(self._look_after))
                group.create_task(self._clean())
                await self._adopt(adopt.from_spool(context), group)
                group.create_task(self._adopt_recorded(group))
                group.create_task(self._mind_setbacks(group))
                if context.executor.taken_over:
                    group.create_task(self._take_over(group))
                self.at_work = True
                if context.trouble != _DRAINING:
                    self._pulling = group.create_task(self._pull(group))
                await asyncio.Event().wait()  # the group ends with a failure, or is cancelled
        except BaseExceptionGroup as failures:
            raise _first_cause(failures) from failures
        finally:
            await self._give_back()

    async def drained(self) -> None:
        """Take nothing new, and return once nothing is held any more."""
        self._context.trouble = _DRAINING
        self._context.admission.stir()  # a message that waits for room goes back
        log.info("worker.drains", held=len(self._context.held))
        if self._pulling is not None:
            self._pulling.cancel()  # a pull that stands would be given messages for half a minute
        await self._presence.tell()
        while self._context.held or self._context.arriving:
            self._freed.clear()
            await self._freed.wait()

    async def leave(self) -> None:
        """Take leave of everybody, in a hurry if need be."""
        context = self._context
        with suppress(QmeError, TimeoutError):
            async with asyncio.timeout(LEAVE):
                await self._presence.leave()
        with suppress(QmeError, TimeoutError):
            async with asyncio.timeout(LEAVE):
                await context.executor.close()
                if not context.keeper.running():
                    await context.keeper.quit()
        await context.keeper.close()
        log.info("worker.left", worker=context.worker, handed_over=len(context.keeper.running()))

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        context = self._context
        consumer = subjects.consumer(context.executor.name, context.pool)
        pull = context.bus.pull(subjects.TASKS, consumer, credit=context.credit, more=context.more)
        await self._hear()
        async with pull as deliveries:
            async for delivery in deliveries:
                context.arriving += 1
                self._handed.add(delivery)
                group.create_task(self._take(delivery))

    async def _hear(self) -> None:
        """Know whether operators have paused us before anything is asked for."""
        while True:
            try:
                return await self._presence.obey()
            except (BusUnavailable, NotFound) as error:
                log.warning("worker.bus_waits", problem=error.message)
            await asyncio.sleep(AGAIN)

    async def _take(self, delivery: Delivery) -> None:
        self._context.arriving -= 1  # from its first step on, `take` shows in `held`
        if self._context.trouble == _DRAINING:
            await delivery.nak()
            attempt = None
        else:
            attempt = await take(self._context, delivery)
        self._handed.discard(delivery)
        if attempt is not None:
            await self._perform(attempt)
        self._tell_freed()

    async def _give_back(self) -> None:
        """Let others have at once what was handed out to us, instead of when its ack_wait has passed.

        Where its claim was written already, the record says whose the task is.
        """
        with suppress(QmeError, TimeoutError):
            async with asyncio.timeout(LEAVE):
                while self._handed:
                    await self._handed.pop().nak()

    async def _adopt(self, attempts: AsyncIterator[Attempt], group: asyncio.TaskGroup) -> None:
        async for attempt in attempts:
            group.create_task(self._perform(attempt))

    async def _adopt_recorded(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._adopt(adopt.from_records(self._context), group)
                return self._adopted.set()
            except (BusUnavailable, NotFound) as error:
                log.warning("adopt.bus_waits", problem=error.message)
            await asyncio.sleep(AGAIN)

    async def _mind_setbacks(self, group: asyncio.TaskGroup) -> None:
        """Tell a bus that was set back, as by a power cut or a restore, what it has forgotten of us."""
        context = self._context
        own = subjects.heartbeat_key(context.executor.name, context.pool, context.worker)
        async with context.bus.follow(subjects.bucket_subject(subjects.BUCKET_EXECUTORS, own)) as signs:
            async for sign in signs:
                if sign is not None:
                    continue
                # Before the first message that is handed out again: another worker may hold its task, and say so now.
                context.settling = True
                was_set_back = await context.records.set_back()
                await self._look_after()
                if was_set_back:
                    log.warning("worker.bus_was_set_back", held=len(context.held))
                    self._others.forget()
                    await self._adopt_recorded(group)
                await asyncio.sleep(context.settings.settle)
                context.settling = False
                context.more.set()

    async def _take_over(self, group: asyncio.TaskGroup) -> None:
        context = self._context
        async for entry, read_at in self._others.taken():
            folder = context.spool.attempt(entry.value.uuid, entry.value.attempt)
            try:
                attempt = await adopt.take_up(context, folder, entry, read_at)
            except OSError as error:  # ours now, and taken up by the next start
                context.spool.pass_over(folder.path, error)
                continue
            if attempt is not None:
                group.create_task(self._perform(attempt))

    async def _perform(self, attempt: Attempt) -> None:
        context = self._context
        context.metrics.active.set(context.busy)
        try:
            await context.admission.wait(
                attempt.which, attempt.spec.resources, still=lambda: not attempt.cancelled
            )
            await attempt.perform()
        except Exception:
            # A mistake of ours in one task must not end the others; it is taken up again by the next start.
            log.exception("attempt.broken", task=attempt.record.uid, attempt=attempt.number)
        finally:
            context.let_go(attempt.which)
            self._tell_freed()

    def _tell_freed(self) -> None:
        self._freed.set()
        self._context.more.set()

    async def _look_after(self) -> None:
        """See what a nudge that never came would have told, and whether there is room for more."""
        attempts = self._context.attempts()
        for at in range(0, len(attempts), TOGETHER):
            looks = (attempt.look() for attempt in attempts[at : at + TOGETHER])
            await asyncio.gather(*looks, return_exceptions=True)
        context = self._context
        if context.trouble in (None, _FULL):
            context.trouble = None if context.room.look() else _FULL
        was_closed, self._closed = self._closed, context.paused is not None
        if was_closed and not self._closed:
            context.admission.stir()

    async def _clean(self) -> None:
        context = self._context
        pause = FIRST_CLEANING
        await self._adopted.wait()
        with suppress(OSError):  # told at the first cleaning
            await asyncio.to_thread(context.spool.measure)
        while True:
            await asyncio.sleep(pause)
            pause = CLEANING
            held = frozenset(context.held)
            try:
                removed = await asyncio.to_thread(
                    spooled.clean, context.spool, context.settings, context.worker, held
                )
            except OSError as error:  # cleaning can wait, the tasks can't
                context.spool.pass_over(context.spool.path, error)
                continue
            log.info("spool.cleaned", attempts=removed)


def _first_cause(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Pick what went wrong first: whoever started the worker is told that, not that there is a group."""
    first = failures.exceptions[0]
    return _first_cause(first) if isinstance(first, BaseExceptionGroup) else first
