"""Lists records newest first without reading the whole bucket, and streams them for searches. Finds no single task."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from qme.bus.kv import Bucket, Corrupt, Entry, Removed
from qme.bus.port import Bus
from qme.client.records import pretence
from qme.contracts import subjects
from qme.contracts.tasks import TaskRecord

#: sequence numbers in the first window, and how much larger the next one is
FIRST_WINDOW = 512
GROWTH = 4
#: `created` is a submitter's clock, the bucket's times are the server's
CLOCK_SKEW = timedelta(seconds=10)

_Item = Entry[TaskRecord] | Removed | Corrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records a list shows; None takes all."""

    executor: str | None = None
    user: str | None = None
    statuses: frozenset[str] = frozenset()  #: words that a status or an outcome may be
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    ended_before: datetime | None = None  #: by `finished`

    def takes(self, record: TaskRecord) -> bool:
        """Tell whether the list shows this record."""
        if self.executor is not None and record.executor != self.executor:
            return False
        if self.user is not None and record.user != self.user:
            return False
        if self.group is not None and record.group != self.group:
            return False
        if self.statuses and self.statuses.isdisjoint((record.status, record.outcome or "")):
            return False
        if self.ended_before is not None and not _ended_before(record, self.ended_before):
            return False
        return all(record.labels.get(key) == value for key, value in self.labels.items())


@dataclass(slots=True)
class Listing:
    """Records newest first; `more` when the limit left some out; a line for each record that can't be read."""

    records: list[TaskRecord] = field(default_factory=list)
    more: bool = False
    unreadable: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """What was read of the bucket so far, by key: a record that changed meanwhile counts once, as it is now."""

    items: dict[str, _Item] = field(default_factory=dict)
    to: int = 0  #: highest revision read
    first_time: datetime | None = None  #: of the first record of the oldest window


def ago(seconds: float | None) -> datetime | None:
    """Name the moment so many seconds ago, for `Wanted.ended_before`; None for None."""
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)


async def newest(bus: Bus, wanted: Wanted, limit: int | None) -> Listing:
    """List the newest records (by `created`), at most `limit`.

    The bucket's stream is in the order of last changes. A record made after the time of some message was changed after
    it too, so it lies behind it: a window at the end of the stream therefore holds every record made after the window's
    first message, and is large enough once `limit` of those were found.
    """
    bucket = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
    pattern = f"{wanted.executor}.*.*" if wanted.executor else "*.*.*"
    state = await bus.state(bucket.stream)
    seen = _Seen()
    size, before = FIRST_WINDOW, state.last + 1
    while True:
        start = max(state.last + 1 - size, 1) if limit else 1
        await _read(bucket, pattern, seen, start, before)
        complete = start <= max(state.first, 1)
        listing = _listing(seen, wanted, None if complete else seen.first_time)
        if complete or (limit and len(listing.records) > limit):
            break
        size, before = size * GROWTH, start
    listing.more = bool(limit) and len(listing.records) > (limit or 0)
    del listing.records[limit or len(listing.records) :]
    return listing


async def stream(bus: Bus, wanted: Wanted) -> AsyncIterator[TaskRecord | Corrupt]:
    """Give all records that match, in the order of their last change; nothing is kept in memory."""
    bucket = Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)
    pattern = f"{wanted.executor}.*.*" if wanted.executor else "*.*.*"
    holding = b"" if wanted.group is None else f'"group":{json.dumps(wanted.group)}'.encode()
    async for seen in bucket.scan(pattern, holding=holding):
        item = _itself(seen)
        if isinstance(item, Corrupt) or (isinstance(item, Entry) and wanted.takes(item.value)):
            yield item.value if isinstance(item, Entry) else item


async def _read(bucket: Bucket[TaskRecord], pattern: str, seen: _Seen, start: int, before: int) -> None:
    """Read the window [start, before), and then again what was written since: a record may have moved there."""
    first_time: datetime | None = None
    tail = seen.to + 1 if seen.to else before
    async for item in bucket.scan(pattern, start=start):
        if item.revision >= before:
            break
        first_time = first_time or (item.time if isinstance(item, Entry) else None)
        _keep(seen, item)
    seen.first_time = first_time or seen.first_time
    async for item in bucket.scan(pattern, start=tail):
        _keep(seen, item)


def _keep(seen: _Seen, item: _Item) -> None:
    seen.to = max(seen.to, item.revision)
    known = seen.items.get(item.key)
    if known is None or known.revision < item.revision:
        seen.items[item.key] = _itself(item)


def _itself(item: _Item) -> _Item:
    problem = pretence(item) if isinstance(item, Entry) else None
    return item if problem is None else Corrupt(item.key, item.revision, problem)


def _listing(seen: _Seen, wanted: Wanted, since: datetime | None) -> Listing:
    listing = Listing()
    for item in seen.items.values():
        if isinstance(item, Corrupt):
            listing.unreadable.append(item.problem)
        elif isinstance(item, Entry) and _is_new(item.value, since) and wanted.takes(item.value):
            listing.records.append(item.value)
    listing.records.sort(key=lambda record: (record.created, record.uuid), reverse=True)
    return listing


def _is_new(record: TaskRecord, since: datetime | None) -> bool:
    return since is None or record.created > since + CLOCK_SKEW


def _ended_before(record: TaskRecord, moment: datetime) -> bool:
    return record.ended and record.finished is not None and record.finished < moment
