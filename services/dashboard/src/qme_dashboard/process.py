"""What this process is: its hub, and what people may do here. Pages, which are scripts, find it by this."""

from __future__ import annotations

from dataclasses import dataclass

from qme_dashboard.deeds import Person
from qme_dashboard.hub import Hub


@dataclass(frozen=True)
class Process:
    """Set once, before anything is served."""

    hub: Hub
    may_act: bool
    named: bool

    def person(self, name: str) -> Person:
        """Give what somebody may do here."""
        return Person(name, may_act=self.may_act, named=self.named)


_current: list[Process] = []


def begin(hub: Hub, *, may_act: bool, named: bool) -> Process:
    """Say what this process is."""
    _current[:] = [Process(hub, may_act, named)]
    return _current[0]


def current() -> Process:
    """Give what `begin` said."""
    return _current[0]
