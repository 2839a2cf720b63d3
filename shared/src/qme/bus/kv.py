"""Typed key-value buckets over the bus's streams: read, and write by compare-and-set. Knows no bucket's meaning.

There is no blind put of a record on purpose: a writer creates a key or updates it at the revision it read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from qme.bus.port import Bus, Expect, Message
from qme.contracts import subjects
from qme.errors import RecordCorrupt

ModelT = TypeVar("ModelT", bound=BaseModel)

#: NATS's own header for a deleted key, so that its tools agree on what a bucket holds
OPERATION = "KV-Operation"
DELETED = "DEL"
#: bytes of a value that is read: what is written in its place is a little longer, and has to fit a message too
LONGEST = 960 * 1024


@dataclass(frozen=True, slots=True)
class Entry(Generic[ModelT]):
    """A key's value and the revision that the next write must name."""

    key: str
    value: ModelT
    revision: int
    time: datetime | None = None


class Bucket(Generic[ModelT]):
    """A bucket whose values are JSON of one model."""

    def __init__(self, bus: Bus, name: str, model: type[ModelT]) -> None:
        self._bus = bus
        self._name = name
        self._model = model
        self.stream = subjects.bucket_stream(name)

    async def get(self, key: str, *, leader: bool = False) -> Entry[ModelT] | None:
        """Read a key; None when it does not exist or is deleted.

        `key` may hold wildcards: then the last written match counts (`subjects.any_key` finds a task by its uuid).
        Raises RecordCorrupt.
        """
        message = await self._bus.last(self.stream, self._subject(key), leader=leader)
        return None if message is None or deleted(message) else self._entry(message)

    async def look(self, key: str, *, leader: bool = False) -> Entry[ModelT] | Removed | Corrupt | None:
        """Read a key as `get` does, but tell a deleted one and one that can't be read, with their revisions."""
        message = await self._bus.last(self.stream, self._subject(key), leader=leader)
        return None if message is None else self._seen(message)

    async def create(
        self,
        key: str,
        value: ModelT,
        *,
        unless: str | None = None,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
    ) -> int:
        """Write a key that does not exist, and give its revision.

        `unless` is a key filter: no key that matches it may exist either. A deleted key counts as existing until its
        marker is gone (uuids are never used twice). Raises Conflict.
        """
        expect = Expect(0, self._subject(unless) if unless else None)
        return await self._append(key, value, expect, headers, ttl)

    async def update(
        self,
        key: str,
        value: ModelT,
        revision: int,
        *,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
    ) -> int:
        """Write a key that stands at `revision`, and give the new one. Raises Conflict."""
        return await self._append(key, value, Expect(revision), headers, ttl)

    async def put(self, key: str, value: ModelT, *, ttl: float | None = None) -> int:
        """Write a key that has one writer only (heartbeats)."""
        return await self._append(key, value, None, None, ttl)

    async def delete(self, key: str, revision: int, *, keep_marker: float = 3600.0) -> None:
        """Delete a key at a revision; the marker goes by itself after `keep_marker` seconds. Raises Conflict.

        Revision 0 puts the marker where no key is, so that nobody can create it meanwhile.
        """
        await self._bus.append(
            self._subject(key), b"", expect=Expect(revision), headers={OPERATION: DELETED}, ttl=keep_marker
        )

    async def scan(
        self, pattern: str = ">", *, start: int = 1, holding: bytes = b""
    ) -> AsyncIterator[Entry[ModelT] | Removed | Corrupt]:
        """Read all keys that match, from revision `start` on, in the order of their last change.

        Yields `Removed` for deletion markers (a mirror needs them) and `Corrupt` for what can't be read, so one bad
        record hides no other. `holding` passes over values without these bytes: far cheaper than to read them all.
        """
        async for message in self._bus.read(self.stream, self._subject(pattern), start=start):
            if holding in message.data:
                yield self._seen(message)

    def _subject(self, key: str) -> str:
        return subjects.bucket_subject(self._name, key)

    def _seen(self, message: Message) -> Entry[ModelT] | Removed | Corrupt:
        key = subjects.bucket_key(self._name, message.subject)
        if deleted(message):
            return Removed(key, message.seq)
        try:
            return self._entry(message)
        except RecordCorrupt as error:
            return Corrupt(key, message.seq, error.message)

    def _entry(self, message: Message) -> Entry[ModelT]:
        key = subjects.bucket_key(self._name, message.subject)
        if len(message.data) > LONGEST:
            raise RecordCorrupt(f"{self._name}/{key} can't be read: it has {len(message.data)} bytes")
        try:
            value = self._model.model_validate_json(message.data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RecordCorrupt(f"{self._name}/{key} can't be read: {where} {first['msg']}") from error
        return Entry(key, value, message.seq, message.time)

    async def _append(
        self,
        key: str,
        value: ModelT,
        expect: Expect | None,
        headers: Mapping[str, str] | None,
        ttl: float | None,
    ) -> int:
        data = value.model_dump_json(exclude_defaults=False).encode()
        ack = await self._bus.append(self._subject(key), data, expect=expect, headers=headers, ttl=ttl)
        return ack.seq


@dataclass(frozen=True, slots=True)
class Removed:
    """A deleted key, seen in a scan."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A key whose value can't be read, seen in a scan."""

    key: str
    revision: int
    problem: str


def deleted(message: Message) -> bool:
    """Tell whether a bucket's message is the marker of a deleted key."""
    return OPERATION in message.headers or "Nats-Marker-Reason" in message.headers
