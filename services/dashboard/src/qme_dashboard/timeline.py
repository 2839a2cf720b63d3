"""A task's life as stretches of time: what it waited for and when it ran, attempt by attempt. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from qme.client.api import Change
from qme.contracts.tasks import TaskRecord


class Stretch(NamedTuple):
    """One stretch; `end` is now for what goes on."""

    attempt: int
    what: str  #: waited or ran
    begin: datetime
    end: datetime
    how: str  #: how it ended, or stands

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max((self.end - self.begin).total_seconds(), 0.0)


def stretches(record: TaskRecord, now: datetime) -> list[Stretch]:
    """Give all stretches in their order. What the record does not tell is left out."""
    found: list[Stretch] = []
    since = record.created
    for past in record.attempts:
        found += _attempt(past.attempt, since, past.started, past.finished or now, past.outcome.value)
        since = past.finished or since
    how = record.outcome.value if record.outcome else record.status.value
    found += _attempt(record.attempt, since, record.started, record.finished or now, how)
    return found


def _attempt(
    number: int, since: datetime, started: datetime | None, end: datetime, how: str
) -> list[Stretch]:
    if started is None:
        return [Stretch(number, "waited", since, end, how)]
    return [
        Stretch(number, "waited", since, started, "started"),
        Stretch(number, "ran", started, end, how),
    ]


class Passage(NamedTuple):
    """A state that a scheduler had the task in; `end` is None for the one that it ended in."""

    state: str
    reason: str
    begin: datetime
    end: datetime | None


def passages(record: TaskRecord, now: datetime) -> list[Passage]:
    """Give the states that an executor exports as ``data.states``, in order; none without them."""
    told = record.data.get("states")
    found = [one for one in map(_entered, told if isinstance(told, (list, tuple)) else ()) if one]
    ends = [one.begin for one in found[1:]] + [None if record.ended else now]
    return [one._replace(end=end) for one, end in zip(found, ends, strict=True)] if found else []


def _entered(told: Any) -> Passage | None:
    try:
        begin = datetime.fromisoformat(told["at"])
        state = str(told["state"])
    except (TypeError, ValueError, LookupError):
        return None
    return Passage(state, str(told.get("reason") or ""), begin.astimezone(UTC), None)


def told(changes: Sequence[Change]) -> list[dict[str, object]]:
    """Give the audit trail as lines of a table, newest first."""
    return [
        {
            "time": change.at,
            "attempt": change.attempt,
            "became": change.outcome or change.status,
            "by": change.by,
        }
        for change in reversed(changes)
    ]
