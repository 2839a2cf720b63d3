"""Whether what a task waits for has come: one parent (`edge`), and all of them (`judge`). Pure; writes nothing.

`success` and `fail` are each other's opposite: an end is one or the other, and a cancelled parent did not succeed.
A `lost` that was concluded from silence alone may still be corrected, so only `any` takes it at once; the others give
its worker `settle` seconds to come back. A parent that was cleared had ended, and nobody can tell how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from qme.contracts.tasks import On, Outcome, Parent, TaskRecord


@dataclass(frozen=True, slots=True)
class Standing:
    """How a parent stands, as far as those who wait for it have to know."""

    outcome: Outcome | None = None
    provisional: bool = False
    since: datetime | None = None  #: when it ended
    gone: bool = False  #: cleared: there is no record of it any more

    @classmethod
    def of(cls, record: TaskRecord) -> Standing:
        """Read it from a record."""
        return cls(record.outcome, record.provisional, record.finished)


@dataclass(frozen=True, slots=True)
class Met:
    """Nothing stands before the start any more."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Not yet. `until`: look again then, whatever happens; None: an event will tell."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """It can't come any more: what the parent (by uuid) did instead."""

    parent: str
    why: str


Verdict = Met | Waits | Never


def edge(parent: Parent, standing: Standing, now: datetime, settle: float) -> Verdict:
    """Judge one parent."""
    outcome, on = standing.outcome, parent.on
    if standing.gone:
        return Met() if on is On.ANY else Never(parent.uuid, "was cleared")
    if outcome is None:
        return Waits()
    if on is On.ANY:
        return Met()
    if standing.provisional:
        until = (standing.since or now) + timedelta(seconds=settle)
        if now < until:
            return Waits(until)
    if (outcome is Outcome.SUCCESS) == (on is On.SUCCESS):
        return Met()
    return Never(parent.uuid, f"ended as {outcome.value}")


def judge(
    parents: Sequence[Parent], standing: Callable[[str], Standing], now: datetime, settle: float
) -> Verdict:
    """Judge all parents: one that can't be met decides, then one that is waited for."""
    waits: Waits | None = None
    for parent in parents:
        verdict = edge(parent, standing(parent.uuid), now, settle)
        if isinstance(verdict, Never):
            return verdict
        if isinstance(verdict, Waits):
            waits = _sooner(waits, verdict)
    return waits or Met()


def _sooner(one: Waits | None, other: Waits) -> Waits:
    times = [each.until for each in (one, other) if each is not None and each.until is not None]
    return Waits(min(times, default=None))
