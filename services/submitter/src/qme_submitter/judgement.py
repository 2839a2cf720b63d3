"""What has to be done for a task that nobody is working on. Pure: the janitor asks, and does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qme.contracts.tasks import TaskRecord
from qme.lifecycle import CancelAsked, Event

#: seconds between two looks at a task that has waited for long
LONGEST_PAUSE = 600.0


@dataclass(frozen=True, slots=True)
class Apply:
    """The record has to change by this event now."""

    event: Event


@dataclass(frozen=True, slots=True)
class NeedsMessage:
    """A queue message has to be on the bus since then."""

    since: datetime


Duty = Apply | NeedsMessage | None


def duty(record: TaskRecord, now: datetime) -> Duty:
    """Say what a record calls for; None where it is others' turn, or nobody's any more."""
    if record.ended or record.claim is not None:
        return None
    if record.cancel is not None:
        wish = record.cancel
        return Apply(CancelAsked(wish.by, now, record.attempt, wish.reason))
    # What is not released waits for something: that is `releasing`'s.
    return None if record.released is None else NeedsMessage(record.released)


def pause(waited: float, grace: float) -> float:
    """Give the seconds until the next look at a task that has waited for so long: they grow as it waits on."""
    return min(max(waited, grace), LONGEST_PAUSE)
