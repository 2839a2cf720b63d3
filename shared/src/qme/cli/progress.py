"""A line on stderr that tells how many of many tasks have ended, and how. On a terminal only; knows no bus."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from qme.contracts.tasks import TaskRecord

#: seconds between two drawings
PAUSE = 0.1
WIDTH = 24
#: back to the beginning of the line, and all of it gone
_ERASE = "\r\x1b[K"


def line(ended: Mapping[str, int], total: int, width: int) -> str:
    """Word the line: a bar, how many of how many, and how they ended."""
    count = sum(ended.values())
    full = WIDTH * count // total if total else WIDTH
    outcomes = ", ".join(
        f"{number} {word}" for word, number in sorted(ended.items(), key=lambda one: -one[1])
    )
    text = f"[{'#' * full}{'.' * (WIDTH - full)}] {count}/{total}{'  ' if outcomes else ''}{outcomes}"
    return text[: max(width - 1, 20)]


class Bar:
    """Counts tasks as they end, and draws where somebody looks."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._ended: Counter[str] = Counter()
        self._is_drawn = total > 1 and out.isatty()
        self._drawn_at = 0.0
        self._draw()

    def note(self, record: TaskRecord) -> None:
        """Count a task that has ended."""
        self.count(str(record.outcome))

    def count(self, word: str) -> None:
        """Count one more of what a word says."""
        self._ended[word] += 1
        if time.monotonic() - self._drawn_at >= PAUSE:
            self._draw()

    def erase(self) -> None:
        """Leave the line as it was."""
        if self._is_drawn:
            self._out.write(_ERASE)
            self._out.flush()

    def _draw(self) -> None:
        if self._is_drawn:
            self._out.write(
                "\r" + line(self._ended, self._total, shutil.get_terminal_size().columns) + "\x1b[K"
            )
            self._out.flush()
            self._drawn_at = time.monotonic()


@contextmanager
def shown(total: int) -> Iterator[Bar]:
    """Show a bar while the context lasts."""
    bar = Bar(total, sys.stderr)
    try:
        yield bar
    finally:
        bar.erase()
