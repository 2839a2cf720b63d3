"""Faults that a test puts into the in-memory bus: what an unreliable network and a careful operator do to callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qme.contracts.subjects import matches, token
from qme.errors import BusUnavailable, NotPermitted


@dataclass(slots=True)
class _Failure:
    subject: str
    stored: bool
    times: int


class Faults:
    """Switches that each affect the next calls; everything works where none is set."""

    def __init__(self) -> None:
        self._failures: list[_Failure] = []
        self._drops = 0
        #: replicas know nothing yet: only a leader's `last` finds a message (seen on three nodes right after an ack)
        self.replicas_lag = False
        self._denied: list[tuple[str, str]] = []

    def fail_append(self, *, stored: bool, subject: str = ">", times: int = 1) -> None:
        """Let the next appends under matching subjects raise BusUnavailable, before or after the message is stored."""
        self._failures.append(_Failure(subject, stored, times))

    def drop_deliveries(self, times: int = 1) -> None:
        """Lose the next messages between a consumer and its reader: they come again after their `ack_wait`."""
        self._drops += times

    def deny(self, user: str, pattern: str) -> None:
        """Take a user's right to append, ask, follow or serve matching subjects."""
        self._denied.append((token(user), pattern))

    def at_append(self, subject: str, when: Literal["before", "after"]) -> None:
        """Raise what was ordered for this moment of an append."""
        for failure in self._failures:
            if failure.stored == (when == "after") and matches(failure.subject, subject):
                failure.times -= 1
                if failure.times <= 0:
                    self._failures.remove(failure)
                raise BusUnavailable

    def drops_delivery(self) -> bool:
        """Tell whether the next delivery is to be lost."""
        if self._drops <= 0:
            return False
        self._drops -= 1
        return True

    def check(self, user: str, subject: str) -> None:
        """Raise NotPermitted for what was denied."""
        if any(user == who and matches(pattern, subject) for who, pattern in self._denied):
            raise NotPermitted(f"{user} has no right to use {subject}")
