"""How many messages a worker with short commands fetches ahead, so that no slot is empty for as long as a fetch takes.

They are not claimed: one that gets no slot soon goes back to the queue, since another worker may be idle. Counts and
waits only: who gets what is for `admission`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

#: seconds: as many messages are fetched ahead as commands have ended within the last so many
LATELY = 0.25
#: seconds that a message waits for a slot
PATIENCE = 0.5


class Ahead:
    """The messages that one worker has too many."""

    def __init__(self, slots: int) -> None:
        self._ends: deque[float] = deque(maxlen=slots)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def count(self) -> int:
        """Messages to fetch beyond the free slots."""
        recent = asyncio.get_running_loop().time() - LATELY
        return sum(at > recent for at in self._ends)

    def ended(self) -> None:
        """Take note that a slot came free, for whoever has waited longest."""
        self._ends.append(asyncio.get_running_loop().time())
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
                return

    async def turn(self, is_free: Callable[[], bool]) -> None:
        """Wait for a slot, behind those who waited before; in vain once `PATIENCE` is over."""
        if is_free() and not self._waiting:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while (left := until - loop.time()) > 0:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            try:
                await asyncio.wait((turn,), timeout=left)
            finally:
                # Only now: whoever came meanwhile has seen that somebody waits.
                self._waiting.remove(turn)
            if is_free():
                return
