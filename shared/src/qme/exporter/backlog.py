"""Which tasks wait and run now: of each record that has not ended a copy of what is counted. No IO."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from qme.bus.kv import Entry
from qme.client.mirroring import Batch, Item
from qme.contracts.tasks import Status

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Open:
    place: Place
    status: Status
    #: since when a worker could have taken it; None: none may, or one has
    since: float | None


class Backlog:
    """The tasks that have not ended."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._fresh: dict[str, _Open] | None = None  # being read anew
        self.loaded = False
        self.trouble: str | None = None

    def apply(self, batch: Batch) -> None:
        """Take the news in."""
        self.trouble = batch.trouble
        if batch.fresh:
            self._fresh = {}
        table = self._open if self._fresh is None else self._fresh
        for item in batch.items:
            _apply(table, item)
        if batch.whole:
            self._open, self._fresh, self.loaded = table, None, True

    def numbers(self) -> Counter[tuple[Place, Status]]:
        """Count by place and status."""
        return Counter((one.place, one.status) for one in self._open.values())

    def oldest(self) -> dict[Place, float]:
        """Tell since when the oldest one waits, in seconds since the epoch, where one does."""
        found: dict[Place, float] = {}
        for one in self._open.values():
            if one.since is not None:
                found[one.place] = min(found.get(one.place, one.since), one.since)
        return found


def _apply(table: dict[str, _Open], item: Item) -> None:
    record = item.value if isinstance(item, Entry) else None
    if record is None or record.ended or str(record.key) != item.key:
        table.pop(item.key, None)
        return
    since = record.released.timestamp() if record.due and record.released else None
    table[item.key] = _Open((record.executor, record.pool), record.status, since)
