"""The two clocks of a worker: one that records show, one that measures."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The time, as records have it."""
    return datetime.now(UTC)


def uptime() -> float:
    """Seconds that no change of the clock moves and a suspended machine does not stop; the keeper counts the same."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
