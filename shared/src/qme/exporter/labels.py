"""Keeps labels within bounds: names that people choose become a series only up to a limit. Pure.

No label is a user: all personal pools together are `personal`. What comes after the limit is `other`.
"""

from __future__ import annotations

from collections.abc import Iterable

OTHER, PERSONAL = "other", "personal"
#: executors, and shared pools, that have series of their own
LIMIT = 20


class Names:
    """The names of one label, in the order they were met; that order is saved, so a series stays what it is."""

    def __init__(self, known: Iterable[str] = (), limit: int = LIMIT) -> None:
        self._known = dict.fromkeys(known)
        self._limit = limit

    def label(self, name: str) -> str:
        """Give the label for a name."""
        if name not in self._known:
            if len(self._known) >= self._limit:
                return OTHER
            self._known[name] = None
        return name

    @property
    def known(self) -> tuple[str, ...]:
        """Those that have a series of their own."""
        return tuple(self._known)


class Places:
    """Labels for executors and pools."""

    def __init__(self, executors: Iterable[str] = (), pools: Iterable[str] = (), limit: int = LIMIT) -> None:
        self.executors = Names(executors, limit)
        self.pools = Names(pools, limit)

    def labels(self, executor: str, pool: str) -> tuple[str, str]:
        """Give the two labels of a place."""
        return self.executors.label(executor), PERSONAL if pool.startswith("u-") else self.pools.label(pool)
