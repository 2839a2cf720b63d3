"""What executors there are: a mirror of the bucket ``qme_executors``. It also makes what the bus needs:
the streams, and a consumer for each definition. No routing.

Live messages only wake the mirror; what counts is read from the stream by sequence, so nothing is missed and nothing
counts that the stream refused. Heartbeats are aged here, by this process's own clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from qme.bus import kv, topology
from qme.bus.port import Bus, Message
from qme.bus.topology import StreamSpec
from qme.contracts import subjects
from qme.contracts.executors import Approval, Definition, Heartbeat, Pause
from qme.contracts.resources import Capacity
from qme.errors import QmeError
from qme.observe.logging import get_logger
from qme_submitter.routing import Routes

log = get_logger(__name__)
ModelT = TypeVar("ModelT", bound=BaseModel)

#: seconds after which everything is looked at again: for a bucket that was made anew, a stream that somebody removed
FULL_AFTER = 60.0
#: seconds that changes are collected for before they are read
SETTLE = 0.05

_STREAM = subjects.bucket_stream(subjects.BUCKET_EXECUTORS)
_EVERYTHING = subjects.bucket_subject(subjects.BUCKET_EXECUTORS, ">")

Place = tuple[str, str]  #: executor and pool


@dataclass(slots=True)
class _Mirror:
    """What was read, up to a sequence."""

    last: int = 0
    definitions: dict[Place, Definition] = field(default_factory=dict)
    approvals: dict[Place, Approval] = field(default_factory=dict)
    pauses: dict[Place, Pause] = field(default_factory=dict)
    #: the last heartbeat of a worker, and when it was written, as `time.monotonic`
    beats: dict[tuple[str, str, str], tuple[Heartbeat, float]] = field(default_factory=dict)
    routes_changed: bool = True

    def apply(self, message: Message) -> None:
        """Take one stored message in; one that can't be read changes nothing but the log."""
        self.last = max(self.last, message.seq)
        kind, *where = subjects.bucket_key(subjects.BUCKET_EXECUTORS, message.subject).split(".")
        gone = kv.deleted(message)
        match kind, where:
            case "def", [executor, pool]:
                definition = None if gone else _read(Definition, message)
                if definition and (definition.executor, definition.pool) != (executor, pool):
                    log.warning("registry.key_and_value_differ", key=message.subject)
                    definition = None
                self._set(self.definitions, (executor, pool), definition)
            case "ok", [executor, pool]:
                self._set(self.approvals, (executor, pool), None if gone else _read(Approval, message))
            case "pause", [executor, pool]:
                pause = None if gone else _read(Pause, message)
                if pause is None:
                    self.pauses.pop((executor, pool), None)
                else:
                    self.pauses[executor, pool] = pause
            case "hb", [executor, pool, worker]:
                beat = None if gone else _read(Heartbeat, message)
                if beat is None:
                    self.beats.pop((executor, pool, worker), None)
                else:
                    self.beats[executor, pool, worker] = (beat, time.monotonic() - _age(message))
            case _:
                log.debug("registry.unknown_key", key=message.subject)

    def _set(self, table: dict[Place, ModelT], place: Place, value: ModelT | None) -> None:
        if table.get(place) == value:
            return
        self.routes_changed = True
        if value is None:
            table.pop(place, None)
        else:
            table[place] = value


class Registry:
    """The executors that this submitter knows of; `listen` and `keep_fresh` run beside its use."""

    def __init__(self, bus: Bus, streams: Sequence[StreamSpec], full_after: float = FULL_AFTER) -> None:
        self._bus = bus
        self._streams = streams
        self._full_after = full_after
        self._streams_made = False
        self._mirror = _Mirror()
        self._routes = Routes((), {})
        self._reading = asyncio.Lock()
        self._wake = asyncio.Event()
        self._full_next = True
        #: when a worker of a place was last heard of; kept longer than the bus keeps its signs
        self._seen: dict[Place, datetime] = {}
        #: consumers made by this process: name to the place they serve
        self._consumers: dict[str, Place] = {}

    @property
    def routes(self) -> Routes:
        """What routing goes by; the same object until a definition or approval changes."""
        if self._mirror.routes_changed:
            self._routes = Routes(self._mirror.definitions.values(), self._mirror.approvals)
            self._mirror.routes_changed = False
        return self._routes

    def definition(self, executor: str, pool: str) -> Definition | None:
        """Give the definition of an executor in a pool."""
        return self._mirror.definitions.get((executor, pool))

    def pools(self, executor: str) -> list[str]:
        """Give the pools in which an executor is defined."""
        return sorted(pool for name, pool in self._mirror.definitions if name == executor)

    def online(self) -> Counter[Place]:
        """Count the living workers by executor and pool."""
        now = time.monotonic()
        return Counter(
            (executor, pool)
            for (executor, pool, _), (beat, at) in self._mirror.beats.items()
            if now - at <= beat.lives
        )

    def seen(self, executor: str, pool: str) -> datetime | None:
        """Tell when a worker of an executor in a pool was last heard of; None: not since this submitter started."""
        return self._seen.get((executor, pool))

    def pause(self, executor: str, pool: str) -> Pause | None:
        """Give the operator's word by which an executor takes nothing new in a pool."""
        return self._mirror.pauses.get((executor, pool))

    def slots(self, executor: str, pool: str) -> int:
        """Count the tasks that the living workers of a pool run at a time."""
        now = time.monotonic()
        return sum(
            beat.slots
            for (name, place, _), (beat, at) in self._mirror.beats.items()
            if (name, place) == (executor, pool) and now - at <= beat.lives
        )

    def capacities(self, executor: str, pool: str) -> list[Capacity | None]:
        """Tell what each living worker of a pool has in all; None for one that does not say."""
        now = time.monotonic()
        return [
            beat.capacity
            for (name, place, _), (beat, at) in self._mirror.beats.items()
            if (name, place) == (executor, pool) and now - at <= beat.lives
        ]

    def silence(self, executor: str, pool: str, worker: str) -> float | None:
        """Tell how many seconds ago a worker was last heard of; None when that is too long ago to be known."""
        seen = self._mirror.beats.get((executor, pool, worker))
        return None if seen is None else time.monotonic() - seen[1]

    async def refresh(self, *, full: bool = False) -> None:
        """Read what has changed (or everything), and make the consumers of new definitions. May be repeated."""
        async with self._reading:
            if full or not self._streams_made:
                await self._bus.ensure(self._streams)
                await self._bus.ensure_consumer(topology.audit_consumer())
                self._streams_made = True
            mirror = _Mirror() if full else self._mirror
            async for message in self._bus.read(_STREAM, _EVERYTHING, start=mirror.last + 1):
                mirror.apply(message)
                self._note(message)
            if full:
                mirror.routes_changed = (mirror.definitions, mirror.approvals) != (
                    self._mirror.definitions,
                    self._mirror.approvals,
                ) or self._mirror.routes_changed
                self._mirror = mirror
                # What another submitter, or an operator, removed and somebody needs again is made again.
                self._consumers.clear()
            await self._ensure_consumers()

    def _note(self, message: Message) -> None:
        kind, *where = subjects.bucket_key(subjects.BUCKET_EXECUTORS, message.subject).split(".")
        if kind == "hb" and len(where) == 3 and message.time is not None and not kv.deleted(message):
            place = where[0], where[1]
            self._seen[place] = max(message.time, self._seen.get(place, message.time))

    async def listen(self) -> None:
        """Wake `keep_fresh` at each change, until cancelled."""
        async with self._bus.follow(_EVERYTHING) as changes:
            async for message in changes:
                if message is None:
                    # The bus may have come back without what was made on it.
                    self._full_next = True
                    self._streams_made = False
                    self._consumers.clear()
                self._wake.set()

    async def keep_fresh(self) -> None:
        """Read what has changed, and everything now and then, until cancelled; survives any loss of the bus."""
        read_all_at = 0.0
        while True:
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes just as the event is set.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, read_all_at - time.monotonic())):
                    await self._wake.wait()
            await asyncio.sleep(SETTLE)
            self._wake.clear()
            full = self._full_next or time.monotonic() >= read_all_at
            self._full_next = False
            try:
                await self.refresh(full=full)
            except QmeError as error:
                log.warning("registry.read_failed", error=error.message)
                self._full_next = self._full_next or full
                read_all_at = time.monotonic() + 1.0
            else:
                if full:
                    read_all_at = time.monotonic() + self._full_after

    async def _ensure_consumers(self) -> None:
        known = self._mirror.definitions
        self._consumers = {name: place for name, place in self._consumers.items() if place in known}
        for place in sorted(self._mirror.definitions):
            name = subjects.consumer(*place)
            holder = self._consumers.get(name)
            if holder is None:
                await self._bus.ensure_consumer(topology.consumer(*place))
                self._consumers[name] = place
            elif holder != place:
                # a_b + c and a + b_c spell one name; the consumer stays with whom it was made for
                log.error("registry.consumer_name_taken", name=name, wanted=place, holder=holder)


def _read(model: type[ModelT], message: Message) -> ModelT | None:
    try:
        return model.model_validate_json(message.data)
    except ValidationError as error:
        log.warning("registry.unreadable", key=message.subject, problem=str(error.errors()[0]["msg"]))
        return None


def _age(message: Message) -> float:
    if message.time is None:
        return 0.0
    return max(0.0, (datetime.now(UTC) - message.time).total_seconds())
