"""The copy of the task records that every page and request is answered from: an SQLite file of this process alone.

A file, since 100,000 records do not belong into memory; in a private folder that goes with the process. One thread
writes (`apply`); any number read. Where the records come from is `hub`'s business.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from qme.bus.kv import Corrupt, Entry, Removed
from qme.client import searching
from qme.client.mirroring import Batch, Item
from qme.contracts.subjects import TaskKey
from qme_dashboard import queries
from qme_dashboard.kept import Kept
from qme_dashboard.queries import Filter, Paging, Statement
from qme_dashboard.rows import COLUMNS, GROUPS, Row, row_of, unreadable

T = TypeVar("T")

_TABLE = (
    "CREATE TABLE tasks (uuid TEXT PRIMARY KEY, uid TEXT, executor TEXT, pool TEXT, user TEXT, command TEXT,"
    " message TEXT, labels TEXT, status TEXT, outcome TEXT, grp TEXT, reason TEXT, attempt INTEGER, worker TEXT,"
    " created REAL, started REAL, finished REAL, returncode INTEGER, complaint TEXT,"
    " bundle TEXT, name TEXT, after TEXT, haystack TEXT,"
    " revision INTEGER, generation INTEGER) WITHOUT ROWID"
)
#: made once the first load is over, which takes half the time without them
_INDEXES = tuple(
    f"CREATE INDEX IF NOT EXISTS by_{name} ON tasks ({columns})"
    for name, columns in {
        "created": "created, uuid, labels",  # so that a label is looked for without reading the tasks themselves
        "finished": "finished, outcome, executor, started, worker",
        "started": "started, attempt, created",
        "grp": "grp, status, outcome",
        "status": "status, executor, pool, created",
        "executor": "executor, created",
        "user": "user, created",
        "bundle": "bundle, user, name, grp, created, started, finished",
    }.items()
)
_PUT = (
    f"INSERT INTO tasks VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (uuid) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    + " WHERE excluded.revision >= tasks.revision OR excluded.generation > tasks.generation"
)

#: seconds by which windows of time move for figures that are kept
STEP = 10.0
#: connections that are kept for later readers: each holds a cache of up to 16 MB
IDLE = 4


class Store:
    """One copy. `version` grows with every change, so that whoever draws can tell whether there is anything new."""

    def __init__(self, folder: Path | None = None) -> None:
        # Only we may look into it.
        self._temporary = tempfile.TemporaryDirectory(prefix="qme-dashboard-", dir=folder)
        self.folder = Path(self._temporary.name)
        self._searching = threading.Lock()  #: one search at a time takes one processor
        self.kept = Kept()
        self._idle: list[sqlite3.Connection] = []  #: readers' connections that nobody uses now
        self._writer = self._open()
        self._writer.execute(_TABLE)
        self._generation = 0
        self._sweeps = False  #: a reading from the beginning is under way: what it does not tell is gone
        self.version = 0
        self.loaded = False  #: everything there was has been read once
        self.trouble: str | None = None  #: why this may be getting old

    # -- writing (one thread) ----------------------------------------------------------------------------------------
    def apply(self, batch: Batch) -> None:
        """Take news in."""
        self.trouble = batch.trouble
        if batch.trouble:
            return
        if batch.fresh:
            self._generation += 1
            self._sweeps = True
        with self._writer:
            self._writer.execute("BEGIN")
            for item in batch.items:
                self._take(item)
            swept = batch.whole and self._sweeps
            if swept:
                self._sweeps = False
                self._writer.execute("DELETE FROM tasks WHERE generation < ?", (self._generation,))
        if batch.whole and not self.loaded:
            for index in _INDEXES:
                self._writer.execute(index)
            self._writer.execute("ANALYZE")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.loaded = True
        if batch.items or batch.fresh or swept:
            self.version += 1

    def _take(self, item: Item) -> None:
        match item:
            case Entry() if str(item.value.key) != item.key:
                # Whoever may write this key may not speak for another task.
                problem = f"it says that it is {item.value.uid}"
                self._put(unreadable(Corrupt(item.key, item.revision, problem), self._generation))
            case Entry():
                self._put(row_of(item.value, item.revision, self._generation))
            case Removed():
                self._writer.execute("DELETE FROM tasks WHERE uuid = ?", (TaskKey.parse(item.key).uuid,))
            case Corrupt():
                self._put(unreadable(item, self._generation))

    def _put(self, row: Row) -> None:
        self._writer.execute(_PUT, row)

    # -- reading (any thread) ----------------------------------------------------------------------------------------
    def page(self, wanted: Filter, paging: Paging) -> tuple[int, list[dict[str, Any]]]:
        """Give how many tasks are meant, and one page of them. Raises InvalidRequest for a bad expression."""
        what, first = repr(wanted), (paging.page - 1) * paging.size
        if wanted.query:
            found = self._ask(
                ("search", what, paging.sort, paging.descending), lambda: self._searched(wanted, paging)
            )
            return len(found), self.named(found[first : first + paging.size])
        (count,) = self._ask(("total", what), lambda: self._rows(queries.total(wanted)))
        ids = self._ask(("page", what, paging), lambda: self._ids(queries.page_ids(wanted, paging)))
        return count["n"], self.named(ids)

    def _searched(self, wanted: Filter, paging: Paging) -> list[str]:
        """Give all ids that a search finds."""
        matching(wanted.query)  # a bad one is refused here
        with self._searching:
            return self._ids(queries.every(wanted, paging))

    def _ids(self, statement: Statement) -> list[str]:
        return [row["uuid"] for row in self._rows(statement)]

    def _ask(self, key: Hashable, make: Callable[[], T]) -> T:
        return self.kept.ask(key, self.version, make)

    def named(self, uuids: list[str]) -> list[dict[str, Any]]:
        """Give these tasks as they stand now, in this order; those that are gone are left out."""
        found = {row["uuid"]: row for row in self._rows(queries.named(tuple(uuids)))}
        return [found[uuid] for uuid in uuids if uuid in found]

    def groups(self, wanted: Filter | None = None) -> dict[str, int]:
        """Give the number of tasks of each tile, those of nobody too."""
        rows = self.rows(queries.groups(wanted or Filter()))
        counted = {row["grp"]: row["n"] for row in rows}
        return {name: counted.get(name, 0) for name in GROUPS}

    def quantiles(self, which: str, since: float) -> tuple[float | None, float | None]:
        """Give p50 and p95 of the waits or runs since then, in seconds."""
        since = since // STEP * STEP
        return self._ask(("quantiles", which, since), lambda: self._quantiles(which, since))

    def _quantiles(self, which: str, since: float) -> tuple[float | None, float | None]:
        lengths = [row["length"] for row in self._rows(queries.spans(which, since))]
        return queries.quantile(lengths, 0.5), queries.quantile(lengths, 0.95)

    def choices(self, column: str) -> list[str]:
        """Give the different values of a column."""
        return [row["value"] for row in self.rows(queries.distinct(column))]

    def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """Run a query whose answer is short: it is kept for others who ask the same."""
        key = (statement.sql, *statement.values.items())
        return self._ask(key, lambda: self._rows(statement))

    def _rows(self, statement: Statement) -> list[dict[str, Any]]:
        # Not one for each thread: Streamlit draws in a new thread each time.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
            connection.execute("PRAGMA query_only = 1")
        try:
            return [dict(row) for row in connection.execute(*statement)]
        finally:
            if len(self._idle) < IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Remove it from the disk."""
        for connection in (self._writer, *self._idle):
            connection.close()
        self._temporary.cleanup()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.folder / "tasks.sqlite", isolation_level=None, timeout=30.0, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode = WAL",
            "synchronous = OFF",
            "cache_size = -16000",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("regexp", 2, _found, deterministic=True)
        return connection


def _found(query: str, text: str | None) -> bool:
    return text is not None and matching(query)(text)


@lru_cache(maxsize=64)
def matching(query: str) -> searching.Test:
    """Give the test for a regular expression. Raises InvalidRequest for a bad one."""
    return searching.pattern(query)
