"""What the in-memory bus stores: streams and their consumers, by the rules of the real server. No waiting here.

Where a rule looks odd, it is the server's (the contract suite holds this to it).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import heappop, heappush

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
    at: float


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
            stream.remove(seq)


class Stream:
    """One stream; every method is given the time."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.stored: dict[int, Stored] = {}
        self.consumers: dict[str, Consumer] = {}
        self._last = 0
        self._bytes = 0
        self._by_subject: dict[str, dict[int, None]] = {}
        self._order: list[int] = []  # all sequences there were since the last tidying
        self._expiring: list[tuple[float, int]] = []  # a heap
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
        if expect is not None and not self._holds(message.subject, expect):
            last = self.last(message.subject)
            if message_id is None or last is None or last.id != message_id:
                raise Conflict
            return Ack(last.message.seq, duplicate=True), None
        if message_id is not None and message_id in self._ids:
            return Ack(self._ids[message_id][0], duplicate=True), None
        size = _OVERHEAD + len(message.subject) + _weight(message)
        self._refuse_if_full(message, size)
        return Ack(self._last + 1), self._store(message, size, message_id, now, ttl)

    def last(self, pattern: str) -> Stored | None:
        """Find the last message that matches."""
        newest = [next(reversed(places)) for places in self._places(pattern)]
        return self.stored[max(newest)] if newest else None

    def after(self, seq: int, pattern: str) -> Message | None:
        """Find the first message that matches, from a sequence on."""
        for at in range(bisect_left(self._order, seq), len(self._order)):
            stored = self.stored.get(self._order[at])
            if stored is not None and matches(pattern, stored.message.subject):
                return stored.message
        return None

    def subjects(self, pattern: str) -> dict[str, int]:
        """Count messages by subject."""
        return {key: len(places) for key, places in self._by_subject.items() if matches(pattern, key)}

    def purge(self, pattern: str) -> None:
        """Remove all messages that match."""
        for places in self._places(pattern):
            for seq in list(places):
                self.remove(seq)

    def remove(self, seq: int) -> None:
        """Remove a message, if it is still there."""
        stored = self.stored.pop(seq, None)
        if stored is None:
            return
        self._bytes -= stored.size
        places = self._by_subject[stored.message.subject]
        del places[seq]
        if not places:
            del self._by_subject[stored.message.subject]
        if len(self._order) > 2 * len(self.stored) + 1000:
            self._order = list(self.stored)

    def state(self) -> StreamState:
        """Tell size and limits."""
        first = next(iter(self.stored), self._last + 1 if self._last else 0)
        return StreamState(first, self._last, len(self.stored), self._bytes, self.spec.max_bytes, None)

    def expire(self, now: float) -> None:
        """Remove what is too old."""
        while self._expiring and self._expiring[0][0] <= now:
            self.remove(heappop(self._expiring)[1])
        age = self.spec.max_age
        while age is not None and self.stored:
            seq, oldest = next(iter(self.stored.items()))
            if oldest.at + age > now:
                break
            self.remove(seq)
        window = min(age or DUPLICATE_WINDOW, DUPLICATE_WINDOW)
        while self._ids:
            key, (_, at) = next(iter(self._ids.items()))
            if at + window > now:
                break
            del self._ids[key]

    def update(self, spec: StreamSpec) -> None:
        """Take new settings. Raises SettingsError for what can't be changed."""
        if spec.retention != self.spec.retention:
            raise SettingsError(f"stream {spec.name} exists with retention {self.spec.retention!r}")
        self.spec = spec
        for subject in list(self._by_subject):
            if subject in self._by_subject:  # trimming one may have removed all of another
                self._trim(subject)

    def add_consumer(self, spec: ConsumerSpec) -> None:
        """Create a consumer or change it. Raises SettingsError where a work queue would have two for a message."""
        for other in self.consumers.values():
            shared = other.spec.name != spec.name and _overlap(other.spec.filter, spec.filter)
            if shared and self.spec.retention == "work":
                raise SettingsError(f"consumer {spec.name} can't be set up: {other.spec.name} takes the same")
        self.consumers.setdefault(spec.name, Consumer(spec)).spec = spec

    def _places(self, pattern: str) -> list[dict[int, None]]:
        if "*" not in pattern and ">" not in pattern:
            return [self._by_subject[pattern]] if pattern in self._by_subject else []
        return [places for subject, places in self._by_subject.items() if matches(pattern, subject)]

    def _holds(self, subject: str, expect: Expect) -> bool:
        last = self.last(expect.subject or subject)
        return expect.last == (0 if last is None else last.message.seq)

    def _refuse_if_full(self, message: Message, size: int) -> None:
        if self.spec.discard == "old" or self.spec.max_bytes is None:
            return
        if self._bytes + _weight(message) >= self.spec.max_bytes:
            places = self._by_subject.get(message.subject, {})
            replaces = self.spec.max_per_subject is not None and len(places) >= self.spec.max_per_subject
            # A message that takes the place of a larger one is let in.
            if not replaces or self.stored[next(iter(places))].size <= size:
                raise LimitReached("the bus says: maximum bytes exceeded")

    def _store(self, message: Message, size: int, key: str | None, now: float, ttl: float | None) -> Message:
        self._last += 1
        placed = replace(message, seq=self._last, time=datetime.fromtimestamp(now, UTC))
        self.stored[self._last] = Stored(placed, key, size, now)
        self._bytes += size
        self._order.append(self._last)
        self._by_subject.setdefault(message.subject, {})[self._last] = None
        if ttl is not None:
            heappush(self._expiring, (now + ttl, self._last))
        if key is not None:
            self._ids[key] = (self._last, now)
        self._trim(message.subject)
        return placed

    def _trim(self, subject: str) -> None:
        places = self._by_subject[subject]
        while self.spec.max_per_subject is not None and len(places) > self.spec.max_per_subject:
            self.remove(next(iter(places)))
        limit = self.spec.max_bytes if self.spec.discard == "old" else None
        while limit is not None and self._bytes > limit and len(self.stored) > 1:
            self.remove(next(iter(self.stored)))


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
