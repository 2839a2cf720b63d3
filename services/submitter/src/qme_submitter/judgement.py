"""What has to be done for a task that nobody is working on. Pure: the janitor asks, and does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qme.contracts.tasks import TaskRecord
from qme.lifecycle import CancelAsked, Event, Released

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


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done before then."""

    until: datetime


Duty = Apply | NeedsMessage | Wait | None


def duty(record: TaskRecord, now: datetime) -> Duty:
    """Say what a record calls for; None where it is others' turn, or nobody's any more."""
    if record.ended or record.claim is not None:
        return None
    if record.cancel is not None:
        wish = record.cancel
        return Apply(CancelAsked(wish.by, now, record.attempt, wish.reason))
    if record.released is not None:
        return NeedsMessage(record.released)
    if record.not_before is None:
        # It waits for something that this version does not know of, so this version must not end the wait.
        return None
    return Apply(Released(now)) if record.not_before <= now else Wait(record.not_before)


def pause(waited: float, grace: float) -> float:
    """Give the seconds until the next look at a task that has waited for so long: they grow as it waits on."""
    return min(max(waited, grace), LONGEST_PAUSE)
