"""Says that this executor and this worker exist: the definition, and a heartbeat that expires. Touches no task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from qme.bus.kv import Bucket, Entry, Removed
from qme.contracts import subjects
from qme.contracts.executors import Definition, Heartbeat, Pause, version_order
from qme.errors import Conflict, NotPermitted, QmeError, RecordCorrupt
from qme.executor.base import actions_of
from qme.executor.policy import rules
from qme.executor.processes import boot_id
from qme.observe.logging import get_logger
from qme.worker.clock import now
from qme.worker.context import Context

log = get_logger(__name__)


class Presence:
    """One worker's adverts."""

    def __init__(self, context: Context, users: tuple[str, ...]) -> None:
        """`users`: names that may submit to the pool; empty: the account's owner."""
        self._context = context
        self._users = users
        self._definitions = Bucket(context.bus, subjects.BUCKET_EXECUTORS, Definition)
        self._pauses = Bucket(context.bus, subjects.BUCKET_EXECUTORS, Pause)
        self._heartbeats = Bucket(context.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
        name, pool = context.executor.name, context.pool
        self._definition_key = subjects.definition_key(name, pool)
        self._pause_key = subjects.pause_key(name, pool)
        self._heartbeat_key = subjects.heartbeat_key(name, pool, context.worker)
        self._started = now()
        self._revision = 0
        #: our definition has stood on the bus
        self._said = False
        self._outvoted = False
        #: what operators say can't be read
        self._blind = False

    async def advertise(self) -> None:
        """Write the definition where there is none, or one of a lower version; once after the start, of the same too.

        Safe to repeat; repeated with every heartbeat, so that one that got lost comes back. Of two workers that
        disagree under one version, the one that started last counts: nobody wins by repeating.
        """
        ours = self._definition()
        seen = await self._definitions.look(self._definition_key)
        if isinstance(seen, Entry):
            theirs = seen.value
            order = version_order(theirs.version), version_order(ours.version)
            if _text(theirs) == _text(ours):
                self._said = True
                return
            if order[0] > order[1] or (order[0] == order[1] and self._said):
                self._say_outvoted(theirs)
                return
        revision = seen.revision if seen is not None else 0
        try:
            await self._definitions.update(self._definition_key, ours, revision)
        except Conflict:
            return  # another worker of the pool, a moment earlier: looked at with the next heartbeat
        self._said = True
        if not isinstance(seen, Entry | Removed) or seen is None:
            log.info("presence.advertised", matchstring=ours.matchstring, version=ours.version)

    async def beat(self) -> None:
        """Write one heartbeat."""
        interval = self._context.settings.heartbeat
        sign = Heartbeat(
            executor=self._context.executor.name,
            pool=self._context.pool,
            worker=self._context.worker,
            host=self._context.settings.host,
            pid=os.getpid(),
            version=self._context.executor.version,
            slots=self._context.slots,
            active=self._context.busy,
            started=self._started,
            at=now(),
            interval=interval,
            paused=self._context.paused,
            pause=self._context.pause,
            drained=self._context.drained,
            rules=rules(self._context.executor.settings),
            boot=boot_id(),
            capacity=self._context.admission.capacity,
            spool_bytes=self._context.spool.bytes,
            spool_limit=self._context.settings.spool_limit,
            spool_free=self._context.room.left,
        )
        written = await self._heartbeats.put(self._heartbeat_key, sign, ttl=max(1.0, sign.lives))
        self._revision = max(self._revision, written)  # of two at a time, the later one stands

    async def obey(self) -> None:
        """Look whether an operator wants nothing new to be taken. Raises BusUnavailable; then nothing changes."""
        try:
            entry = await self._pauses.get(self._pause_key)
        except NotPermitted as error:  # the server's include file is of a version that knew no pauses
            if not self._blind:
                log.warning("presence.pauses_unseen", problem=error.message, do="qme auth init")
            self._blind = True
            return
        except RecordCorrupt as error:
            log.warning("presence.pause_unreadable", problem=error.message)
            return
        pause = None if entry is None else entry.value
        if pause != self._context.pause:
            log.info("presence.paused" if pause else "presence.resumed", why=pause.sentence if pause else "")
        self._context.pause = pause

    async def run(self, also: Callable[[], Awaitable[None]]) -> None:
        """Beat for ever; with each beat the definition is looked after and `also` is called."""
        while True:
            for duty in (self.obey, self.beat, self.advertise, also):
                await self._dutifully(duty)
            await asyncio.sleep(self._context.settings.heartbeat)

    async def tell(self) -> None:
        """Beat out of turn, since something changed; when this fails, the next heartbeat tells."""
        await self._dutifully(self.beat)

    async def _dutifully(self, duty: Callable[[], Awaitable[None]]) -> None:
        try:
            await duty()
        except QmeError as error:
            log.warning("presence.failed", duty=duty.__name__, problem=error.message)

    async def leave(self) -> None:
        """Take the heartbeat back, so that nobody has to wait for its end."""
        if self._revision:
            await self._heartbeats.delete(self._heartbeat_key, self._revision, keep_marker=60.0)

    def _definition(self) -> Definition:
        executor = self._context.executor
        return Definition(
            executor=executor.name,
            pool=self._context.pool,
            matchstring=executor.matchstring,
            priority=executor.priority,
            version=executor.version,
            account=self._context.account,
            users=self._users,
            actions=actions_of(type(executor)),
            fields=executor.fields,
            lost_by_silence=executor.lost_by_silence,
            script=executor.script,
            resources=self._context.admission.capacity is not None,
            updated=now(),
        )

    def _say_outvoted(self, theirs: Definition) -> None:
        if not self._outvoted:
            log.warning(
                "presence.outvoted",
                ours=self._context.executor.version,
                theirs=theirs.version,
                pool=theirs.pool,
            )
        self._outvoted = True


def _text(definition: Definition) -> dict[str, object]:
    """What the definition says, without when it was said."""
    return definition.model_dump(exclude={"updated"})
