"""Many matchstrings tried on one command at once. Pure; knows no executors.

Patterns are written by people who run workers and tried on what other people type, so only RE2 takes them: its time is
linear in the text, whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import re2

#: bytes that RE2 may use for all patterns together; its own 8 MiB are few for a thousand of them
_MEMORY = 64 * 1024 * 1024


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


@lru_cache(maxsize=4096)
def problem(pattern: str) -> str | None:
    """Say why RE2 refuses a pattern; None when it takes it."""
    try:
        re2.compile(pattern, _options())
    except re2.error as error:
        said = error.args[0] if error.args else "not a pattern"
        return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    except UnicodeEncodeError:
        return "not UTF-8"
    return None


class Patterns:
    """A set of patterns, compiled once; a command costs microseconds, however many there are."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = sorted({pattern for pattern in patterns if problem(pattern) is None})
        self._set = self._compiled()

    def matching(self, command: str) -> set[str]:
        """Give the patterns that are found anywhere in the command."""
        if self._set is not None:
            hits = self._set.Match(command)
            # A set that runs out of memory reports no match at all, and a missed match would send the command to
            # the wrong executor. The empty pattern at its end matches always: where it is missing, nothing counts.
            if len(self._patterns) in hits:
                return {self._patterns[hit] for hit in hits if hit < len(self._patterns)}
        return {pattern for pattern in self._patterns if re2.search(pattern, command, _options())}

    def _compiled(self) -> Any:
        together = re2.Set.SearchSet(_options())
        try:
            for pattern in (*self._patterns, ""):
                together.Add(pattern)
            together.Compile()
        except re2.error:  # each is fine, but all together are too large
            return None
        return together
