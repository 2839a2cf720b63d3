"""The room on the disk of the spool: what is left, and whether there was a moment without any. Stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

from qme.worker.clock import uptime

#: bytes below which nothing new is taken, and below which what runs can't be sure of its output
LEAST, NONE = 16 << 20, 128 << 10


class Room:
    """What is known of one disk; `look` asks it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_full = float("-inf")
        #: bytes left at the last look
        self.left: int | None = None

    def look(self) -> bool:
        """Tell whether there is enough for something new. Raises OSError."""
        disk = os.statvfs(self._path)
        self.left = left = disk.f_bavail * disk.f_frsize
        if left < NONE:
            self._last_full = uptime()
        return left >= LEAST

    def was_full_since(self, moment: float) -> bool:
        """Tell whether any look since then (seconds of `uptime`) has found the disk full."""
        return self._last_full >= moment
