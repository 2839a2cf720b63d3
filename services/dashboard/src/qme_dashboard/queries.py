"""What may be asked of the store, as SQL and its parameters. Pure: no database here, and no value ever in the SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from qme.errors import InvalidRequest
from qme_dashboard.rows import GROUPS

#: what a table may be sorted by, and how that is spelled
SORTS = {
    "created": "created",
    "started": "started",
    "finished": "finished",
    "run time": "finished - started",
    "wait": "started - created",
    "status": "coalesce(outcome, status)",
    "executor": "executor",
    "user": "user",
    "command": "command",
    "attempt": "attempt",
    "exit code": "returncode",
}
#: rows that one page may have
LARGEST_PAGE = 1000
#: what a page shows of each task
SHOWN = (
    "uuid, uid, executor, pool, user, command, message, labels, status, outcome, grp, reason, attempt, worker,"
    " created, started, finished, returncode, complaint, bundle, name, after"
)

#: leaves out what a newer task of the same name has taken the place of in its group
_CURRENT = (
    "NOT EXISTS (SELECT 1 FROM tasks AS newer WHERE newer.bundle = tasks.bundle AND newer.user = tasks.user"
    " AND newer.name = tasks.name AND newer.uuid > tasks.uuid)"
)


class Statement(NamedTuple):
    """SQL with named parameters, and their values."""

    sql: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which tasks are meant; what is empty takes all.

    `states` are words that a status, an outcome or a tile's name may be. `query` is a regular expression, as
    `qme search` takes it.
    """

    executor: str = ""
    pool: str = ""
    user: str = ""
    worker: str = ""
    group: str = ""  #: those of a name: the newest
    states: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    since: float | None = None  #: created at that second or later

    def where(self) -> Statement:
        """Give the condition."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        for name in ("executor", "pool", "user", "worker"):
            if wanted := getattr(self, name):
                parts.append(f"{name} = :{name}")
                values[name] = wanted
        if self.group:
            parts.append(f"bundle = :bundle AND {_CURRENT}")
            values["bundle"] = self.group
        if self.states:
            names = []
            for number, word in enumerate(sorted(self.states)):
                names.append(f":state{number}")
                values[f"state{number}"] = word
            among = f"({', '.join(names)})"
            parts.append(f"(grp IN {among} OR status IN {among} OR outcome IN {among})")
        for number, (key, value) in enumerate(sorted(self.labels.items())):
            # Text first, which is quick; then exactly, with each(): a key may hold what a JSON path takes for its own.
            parts.append(
                f"instr(labels, :pair{number}) AND EXISTS (SELECT 1 FROM json_each(labels) AS label"
                f" WHERE label.key = :key{number} AND label.value = :value{number})"
            )
            pair = json.dumps({key: value})[1:-1]
            values |= {f"pair{number}": pair, f"key{number}": key, f"value{number}": value}
        if self.query:
            parts.append("haystack REGEXP :query")
            values["query"] = self.query
        if self.since is not None:
            parts.append("created >= :since")
            values["since"] = self.since
        return Statement(" AND ".join(parts) or "1", values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which page, in which order. Raises InvalidRequest for what there is none of."""

    sort: str = "created"
    descending: bool = True
    page: int = 1
    size: int = 50

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise InvalidRequest(f"tasks can't be sorted by {self.sort!r}; there are: {', '.join(SORTS)}")
        if not 1 <= self.size <= LARGEST_PAGE:
            raise InvalidRequest(f"a page has 1 to {LARGEST_PAGE} tasks, not {self.size}")
        if self.page < 1 or self.page > 1 << 40:
            raise InvalidRequest(f"there is no page {self.page}; the first one is 1")


def every(wanted: Filter, paging: Paging) -> Statement:
    """The ids of all tasks that are meant, in order."""
    where, values = wanted.where()
    return Statement(f"SELECT uuid FROM tasks WHERE {where} ORDER BY {_order(paging)}", values)


def _order(paging: Paging) -> str:
    way = "DESC" if paging.descending else "ASC"
    return f"{SORTS[paging.sort]} {way} NULLS LAST, uuid {way}"


def page_ids(wanted: Filter, paging: Paging) -> Statement:
    """The ids of one page of the tasks that are meant: what is skipped before it is skipped in an index, never read."""
    where, values = wanted.where()
    sql = f"SELECT uuid FROM tasks WHERE {where} ORDER BY {_order(paging)} LIMIT :limit OFFSET :offset"
    return Statement(sql, {**values, "limit": paging.size, "offset": (paging.page - 1) * paging.size})


def total(wanted: Filter) -> Statement:
    """How many tasks are meant."""
    where, values = wanted.where()
    return Statement(f"SELECT count(*) AS n FROM tasks WHERE {where}", values)


def bundles(limit: int) -> Statement:
    """The groups of late, with how their tasks stand."""
    counts = ", ".join(f"sum(grp = '{name}') AS {name}" for name in GROUPS)
    return Statement(
        f"SELECT bundle, user, count(*) AS n, {counts}, min(created) AS begun, max(created) AS latest,"
        f" max(finished) AS ended FROM tasks WHERE bundle IS NOT NULL AND {_CURRENT}"
        " GROUP BY bundle, user ORDER BY latest DESC LIMIT :limit",
        {"limit": limit},
    )


def members(group: str, user: str, limit: int) -> Statement:
    """The tasks of a group, oldest first, with what a drawing of them needs."""
    where, values = Filter(group=group, user=user).where()
    return Statement(
        f"SELECT {SHOWN} FROM tasks WHERE {where} ORDER BY created, uuid LIMIT :limit",
        {**values, "limit": limit},
    )


def named(uuids: tuple[str, ...]) -> Statement:
    """The tasks of these uuids, in no order."""
    values = {f"uuid{number}": uuid for number, uuid in enumerate(uuids)}
    names = ", ".join(f":{name}" for name in values)
    return Statement(f"SELECT {SHOWN} FROM tasks WHERE uuid IN ({names})", values)


def groups(wanted: Filter) -> Statement:
    """How many of the tasks that are meant each tile counts."""
    where, values = wanted.where()
    return Statement(f"SELECT grp, count(*) AS n FROM tasks WHERE {where} GROUP BY grp", values)


def ended_per(step: float, since: float, executor: str = "") -> Statement:
    """How many tasks ended in each step of time (named by its first second), by outcome."""
    only = " AND executor = :executor" if executor else ""
    sql = (
        "SELECT CAST(finished / :step AS INTEGER) * :step AS at, outcome, count(*) AS n FROM tasks"
        f" WHERE finished >= :since{only} GROUP BY 1, 2 ORDER BY 1"
    )
    return Statement(sql, {"step": step, "since": since, "executor": executor})


def backlog() -> Statement:
    """What waits for a worker, by executor and pool, with the age of the oldest."""
    return Statement(
        "SELECT executor, pool, count(*) AS n, min(created) AS oldest FROM tasks"
        " WHERE status = 'queued' GROUP BY executor, pool ORDER BY n DESC, executor, pool",
        {},
    )


def by_worker(since: float) -> Statement:
    """How many tasks each worker has ended since then, and how many of them badly."""
    return Statement(
        "SELECT worker, count(*) AS ended, sum(outcome NOT IN ('success', 'cancelled')) AS failed FROM tasks"
        " WHERE finished >= :since AND worker IS NOT NULL GROUP BY worker",
        {"since": since},
    )


def holders(executor: str = "") -> Statement:
    """The workers that hold tasks, with how many."""
    only = " AND executor = :executor" if executor else ""
    return Statement(
        f"SELECT worker, count(*) AS n FROM tasks WHERE status = 'running' AND worker IS NOT NULL{only}"
        " GROUP BY worker ORDER BY worker",
        {"executor": executor},
    )


#: what `quantiles` can be asked for: first attempts only for the wait, since a rerun keeps the time of its creation
SPANS = {
    "wait": ("started - created", "started >= :since AND attempt = 1"),
    "run": ("finished - started", "finished >= :since AND started IS NOT NULL"),
}


def spans(which: str, since: float) -> Statement:
    """Lengths of waits or runs since then, in order, with their number: for `quantile`."""
    length, where = SPANS[which]
    sql = f"SELECT max({length}, 0.0) AS length FROM tasks WHERE {where} ORDER BY 1"
    return Statement(sql, {"since": since})


def quantile(lengths: list[float], share: float) -> float | None:
    """Give the length that a share of all stays below; None without any."""
    if not lengths:
        return None
    return lengths[min(int(len(lengths) * share), len(lengths) - 1)]


def distinct(column: str) -> Statement:
    """The different values of one of the columns that people choose from."""
    if column not in ("executor", "user", "pool", "worker"):
        raise InvalidRequest(f"no choice of {column!r}")
    return Statement(
        f"SELECT DISTINCT {column} AS value FROM tasks WHERE {column} != '' ORDER BY 1",
        {},
    )
