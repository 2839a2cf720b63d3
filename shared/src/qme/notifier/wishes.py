"""Which ends are told, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qme.contracts.tasks import Outcome, TaskRecord

#: label of a task by which its owner asks for news: outcomes with commas, or ``all``
LABEL = "notify"
ALL = "all"


def wanted(record: TaskRecord, user: str, always: Collection[str]) -> bool:
    """Tell whether the end of a task is news to `user`, who wants the outcomes in `always` of every task.

    One that is lost by silence alone may still be corrected, and is no news until its worker is back or given up.
    """
    if record.user != user or record.outcome is None or record.provisional:
        return False
    asked = record.labels.get(LABEL, "").split(",")
    return bool({ALL, record.outcome.value} & {*asked, *always})


def end_of(record: TaskRecord) -> str:
    """Name the end of a task: another one for each attempt."""
    return f"{record.uuid}.{record.attempt}.{record.outcome}"


def news(record: TaskRecord) -> dict[str, Any]:
    """Give what is told, as JSON: `id` is the same for each telling of the same end."""
    return {
        "id": end_of(record),
        "task": record.uid,
        "outcome": record.outcome,
        "command": record.command,
        "message": record.message,
        "labels": record.labels,
        "reason": record.reason,
        "returncode": record.data.get("returncode"),
        "attempt": record.attempt,
        "worker": record.worker,
        "created": _iso(record.created),
        "started": _iso(record.started),
        "finished": _iso(record.finished),
        "text": sentence(record),
    }


def sentence(record: TaskRecord) -> str:
    """Say it in a line."""
    word = "succeeded" if record.outcome is Outcome.SUCCESS else f"ended as {record.outcome}"
    why = f": {record.reason}" if record.reason else ""
    text = f"{record.message or record.command[:200]} {word}{why} ({record.uid})"
    return " ".join(line.strip() for line in text.splitlines())


def variables(told: dict[str, Any]) -> dict[str, str]:
    """Give the same as environment variables for a command, as far as they are single words or lines."""
    plain = ("task", "outcome", "command", "message", "reason", "returncode", "text")
    words = {name: "" if told[name] is None else str(told[name]) for name in plain}
    # No variable can hold a NUL, and what wrote a reason may have been anything.
    return {
        f"QME_{name.upper()}": word.replace("\0", "\N{REPLACEMENT CHARACTER}") for name, word in words.items()
    }


def _iso(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
