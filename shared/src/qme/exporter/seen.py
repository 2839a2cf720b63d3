"""Which changes were counted before: a window over the newest revisions, small enough to be saved with the totals.
Pure.

The audit trail may hold a change twice (two submitters copy it, further apart than the bus recognises), and its
consumer hands out again what was not acknowledged. A change is told by the revision of the record bucket that it made,
of which there are no two alike. What lies below the window counts as counted: submitters copy in the order of
revisions.
"""

from __future__ import annotations

import base64

#: revisions that the window is wide
WIDTH = 16_384


class Seen:
    """The revisions counted so far; `top` is the highest."""

    def __init__(self, top: int = 0, bits: int = 0, *, width: int = WIDTH) -> None:
        self.top = top
        self._bits = bits  # bit n: revision top - n
        self._width = width

    def __contains__(self, revision: int) -> bool:
        behind = self.top - revision
        if behind < 0:
            return False
        return behind >= self._width or bool(self._bits >> behind & 1)

    def add(self, revision: int) -> None:
        """Note a revision."""
        ahead = revision - self.top
        if ahead > 0:
            # Not shifted by the gap itself, which may be of any size.
            self._bits = self._bits << ahead & (1 << self._width) - 1 if ahead < self._width else 0
            self.top = revision
            ahead = 0
        if -ahead < self._width:
            self._bits |= 1 << -ahead

    def cut(self, last: int) -> bool:
        """Forget what lies above `last`, as the bus was set back to there; tells whether there was any."""
        beyond = self.top - last
        if beyond <= 0:
            return False
        self._bits >>= beyond
        self.top = last
        return True

    def dump(self) -> str:
        """Write the window as text."""
        size = (self._bits.bit_length() + 7) // 8
        return base64.b64encode(self._bits.to_bytes(size, "little")).decode()

    @classmethod
    def load(cls, top: int, text: str) -> Seen:
        """Read what `dump` wrote. Raises ValueError."""
        return cls(top, int.from_bytes(base64.b64decode(text, validate=True), "little"))
