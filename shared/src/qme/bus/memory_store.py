"""What the in-memory bus stores: streams and their consumers, by the rules of the real server. No waiting here.

Where a rule looks odd, it is the server's (the contract suite holds this to it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from qme.bus.port import Ack, Expect, Message, StreamState
from qme.bus.topology import DUPLICATE_WINDOW, ConsumerSpec, StreamSpec
from qme.contracts.subjects import matches
from qme.errors import Conflict, InvalidRequest, LimitReached, SettingsError

#: bytes that the server's files need for each message besides its own
_OVERHEAD = 34


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in a stream."""

    message: Message
    id: str | None
    size: int
    expires: float | None


@dataclass(slots=True)
class Consumer:
    """A durable consumer: what it has handed out until when, and what is done with."""

    spec: ConsumerSpec
    pending: dict[int, float] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    def take(self, stream: Stream, now: float) -> Message | None:
        """Hand out the first message that is due."""
        for seq, stored in stream.stored.items():
            if seq in self.done or not matches(self.spec.filter, stored.message.subject):
                continue
            if seq in self.pending:
                if self.pending[seq] > now:
                    continue
            elif len(self.pending) >= self.spec.max_ack_pending:
                continue
            self.pending[seq] = now + self.spec.ack_wait
            return stored.message
        return None

    def finish(self, stream: Stream, seq: int) -> None:
        """Never hand a message out again; a work queue drops it."""
        self.pending.pop(seq, None)
        self.done.add(seq)
        if stream.spec.retention == "work":
            stream.stored.pop(seq, None)


class Stream:
    """One stream; every method is given the time."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.stored: dict[int, Stored] = {}
        self.consumers: dict[str, Consumer] = {}
        self._last = 0
        self._ids: dict[str, tuple[int, float]] = {}

    def append(
        self,
        message: Message,
        now: float,
        *,
        expect: Expect | None = None,
        message_id: str | None = None,
        ttl: float | None = None,
    ) -> tuple[Ack, Message | None]:
        """Store a message; also gives it as stored, or None for a duplicate."""
        self.expire(now)
        if ttl is not None and not self.spec.message_ttl:
            raise InvalidRequest("per-message TTL is disabled")
        if expect is not None:
            try:
                self._check(message.subject, expect)
            except Conflict:
                last = self.last(message.subject)
                if message_id is None or last is None or last.id != message_id:
                    raise
                return Ack(last.message.seq, duplicate=True), None
        if message_id is not None and message_id in self._ids:
            return Ack(self._ids[message_id][0], duplicate=True), None
        size = _OVERHEAD + len(message.subject) + _weight(message)
        self._make_room(message, size)
        self._last += 1
        stored = Message(
            message.subject, message.data, message.headers, self._last, datetime.fromtimestamp(now, UTC)
        )
        self.stored[self._last] = Stored(stored, message_id, size, None if ttl is None else now + ttl)
        if message_id is not None:
            self._ids[message_id] = (self._last, now)
        self._trim()
        return Ack(self._last), stored

    def last(self, pattern: str) -> Stored | None:
        """Find the last message that matches."""
        found = (
            stored for stored in reversed(self.stored.values()) if matches(pattern, stored.message.subject)
        )
        return next(found, None)

    def after(self, seq: int, pattern: str) -> Message | None:
        """Find the first message that matches, from a sequence on."""
        found = (
            stored.message
            for at, stored in self.stored.items()
            if at >= seq and matches(pattern, stored.message.subject)
        )
        return next(found, None)

    def subjects(self, pattern: str) -> Mapping[str, int]:
        """Count messages by subject."""
        counts: dict[str, int] = {}
        for stored in self.matching(pattern):
            counts[stored.message.subject] = counts.get(stored.message.subject, 0) + 1
        return counts

    def matching(self, pattern: str) -> Iterator[Stored]:
        """Give all messages that match."""
        return (stored for stored in self.stored.values() if matches(pattern, stored.message.subject))

    def purge(self, pattern: str) -> None:
        """Remove all messages that match."""
        for stored in list(self.matching(pattern)):
            del self.stored[stored.message.seq]

    def state(self) -> StreamState:
        """Tell size and limits."""
        first = next(iter(self.stored), self._last + 1)
        return StreamState(first, self._last, len(self.stored), self._bytes(), self.spec.max_bytes, None)

    def expire(self, now: float) -> None:
        """Remove what is too old."""
        age = self.spec.max_age
        for seq, stored in list(self.stored.items()):
            written = stored.message.time
            too_old = age is not None and written is not None and written.timestamp() + age <= now
            if too_old or (stored.expires is not None and stored.expires <= now):
                del self.stored[seq]
        window = min(age or DUPLICATE_WINDOW, DUPLICATE_WINDOW)
        self._ids = {key: place for key, place in self._ids.items() if place[1] + window > now}

    def update(self, spec: StreamSpec) -> None:
        """Take new settings. Raises SettingsError for what can't be changed."""
        if spec.retention != self.spec.retention:
            raise SettingsError(f"stream {spec.name} exists with retention {self.spec.retention!r}")
        self.spec = spec
        self._trim()

    def add_consumer(self, spec: ConsumerSpec) -> None:
        """Create a consumer or change it. Raises SettingsError where a work queue would have two for a message."""
        for other in self.consumers.values():
            if (
                self.spec.retention == "work"
                and other.spec.name != spec.name
                and _overlap(other.spec.filter, spec.filter)
            ):
                raise SettingsError(f"consumer {spec.name} can't be set up: {other.spec.name} takes the same")
        if spec.name in self.consumers:
            self.consumers[spec.name].spec = spec
        else:
            self.consumers[spec.name] = Consumer(spec)

    def _check(self, subject: str, expect: Expect) -> None:
        last = self.last(expect.subject or subject)
        if expect.last != (0 if last is None else last.message.seq):
            raise Conflict

    def _make_room(self, message: Message, size: int) -> None:
        if self.spec.discard == "old" or self.spec.max_bytes is None:
            return
        same = [stored for stored in self.stored.values() if stored.message.subject == message.subject]
        replaced = same[0] if self.spec.max_per_subject and len(same) >= self.spec.max_per_subject else None
        if self._bytes() + _weight(message) >= self.spec.max_bytes and (
            replaced is None or replaced.size <= size
        ):
            raise LimitReached("the bus says: maximum bytes exceeded")

    def _trim(self) -> None:
        most = self.spec.max_per_subject
        if most is not None:
            counts = self.subjects(">")
            for seq, stored in list(self.stored.items()):
                if counts[stored.message.subject] > most:
                    counts = {**counts, stored.message.subject: counts[stored.message.subject] - 1}
                    del self.stored[seq]
        while (
            self.spec.max_bytes is not None and self._bytes() > self.spec.max_bytes and len(self.stored) > 1
        ):
            del self.stored[next(iter(self.stored))]

    def _bytes(self) -> int:
        return sum(stored.size for stored in self.stored.values())


def _weight(message: Message) -> int:
    return len(message.data) + sum(len(key) + len(value) + 4 for key, value in message.headers.items())


def _overlap(one: str, other: str) -> bool:
    """Tell whether two patterns could take the same subject."""
    here, there = one.split("."), other.split(".")
    for left, right in zip(here, there, strict=False):
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right):
            return False
    return len(here) == len(there)
