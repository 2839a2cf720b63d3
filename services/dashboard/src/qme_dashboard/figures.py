"""Series for the charts, made of what the store counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

#: how outcomes are stacked, from the bottom up, and their colours (readable on light and dark, and without red/green)
STACK = {"success": "#2a9d6f", "failure": "#d64545", "cancelled": "#8b93a1", "lost": "#9b5de5"}


class Window(NamedTuple):
    """A stretch of time up to now, in steps."""

    seconds: float
    step: float


WINDOWS = {"15 min": Window(900, 60), "1 h": Window(3_600, 60), "24 h": Window(86_400, 600)}


def stacked(rows: Iterable[Mapping[str, Any]], window: Window, now: float) -> dict[str, list[Any]]:
    """Give tasks ended per minute for each step of a window, those without any too."""
    last = now // window.step * window.step
    number = int(window.seconds // window.step)
    starts = [last - window.step * back for back in range(number - 1, -1, -1)]
    counts = {name: dict.fromkeys(starts, 0.0) for name in STACK}
    for row in rows:
        if row["at"] in counts["success"]:
            counts[group_of_outcome(row["outcome"])][row["at"]] += row["n"] * 60 / window.step
    times = [datetime.fromtimestamp(start, UTC) for start in starts]
    return {"time": times, **{name: [found[start] for start in starts] for name, found in counts.items()}}


def group_of_outcome(outcome: str) -> str:
    """Name the part of the stack that an outcome belongs to."""
    return outcome if outcome in STACK else "failure"


def failure_share(rows: Iterable[Mapping[str, Any]], since: float, until: float) -> float | None:
    """Give the share of failures among what ended in a time by itself; None where nothing did."""
    ended = failed = 0
    for row in rows:
        group = group_of_outcome(row["outcome"])
        if since <= row["at"] < until and group != "cancelled":
            ended += row["n"]
            failed += row["n"] if group != "success" else 0
    return failed / ended if ended else None
