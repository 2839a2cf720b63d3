"""Whether the bus has room for new tasks. What is left free lets the tasks that run be ended and recorded."""

from __future__ import annotations

import asyncio
import time

from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.messages import FULL
from qme.errors import LimitReached, QmeError
from qme.observe.logging import get_logger

log = get_logger(__name__)

#: seconds that an answer stays good, and the age from which it is not used at all
FRESH = 3.0
STALE = 60.0

_WATCHED = {
    subjects.TASKS: "the queue",
    subjects.bucket_stream(subjects.BUCKET_TASKS): "the records of tasks",
    subjects.bucket_stream(subjects.BUCKET_SPECS): "the specs of tasks",
}


class Room:
    """The fill of the streams that a submission writes to, a few seconds old at most times."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known_at = float("-inf")
        self._full: str | None = None
        self._reading: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raise LimitReached when a stream is nearly full.

        Costs no round trip while submissions follow each other: what is known is renewed beside them.
        """
        age = time.monotonic() - self._known_at
        if age > FRESH and self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if age > STALE and self._reading is not None:
            await asyncio.shield(self._reading)
        if self._full is not None:
            raise LimitReached(self._full)

    async def _read(self) -> None:
        try:
            states = await asyncio.gather(*(self._bus.state(stream) for stream in _WATCHED))
        except QmeError as error:
            # Not knowing is no reason to refuse: the bus itself refuses what does not fit.
            log.warning("room.unknown", error=error.message)
        else:
            self._full = next(
                (
                    f"{what} fills {state.bytes / state.max_bytes:.0%} of its storage on the bus, "
                    f"new tasks are refused from {FULL:.0%}; `qme clear --older-than 7d` makes room"
                    for what, state in zip(_WATCHED.values(), states, strict=True)
                    if state.max_bytes and state.bytes >= FULL * state.max_bytes
                ),
                None,
            )
            self._known_at = time.monotonic()
        finally:
            self._reading = None
