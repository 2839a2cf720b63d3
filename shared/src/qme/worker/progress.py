"""What an attempt exports while it runs: gathered here, written to the record when changed, at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from qme.contracts.tasks import Status
from qme.errors import IllegalTransition, QmeError
from qme.lifecycle import Progressed
from qme.observe.logging import get_logger
from qme.worker.clock import now
from qme.worker.export import plain

log = get_logger(__name__)

#: seconds between two writes of one task's record
PAUSE = 1.0


class Progress:
    """The exports of one attempt. The claim was a write too, so a task that ends within a second needs no other."""

    def __init__(
        self, attempt: int, exported: Mapping[str, Any], write: Callable[[Progressed], Awaitable[None]]
    ) -> None:
        #: everything exported so far
        self.data: dict[str, Any] = dict(exported)
        self._attempt = attempt
        self._write = write
        #: how the task stands in a scheduler, where one has said
        self.status: Status | None = None
        self._reason: str | None = None
        self._started: datetime | None = None
        self._changed = asyncio.Event()

    def update(self, data: Mapping[str, Any], status: Status | None, reason: str | None) -> None:
        """Take note; written later."""
        fresh = {name: plain(value) for name, value in data.items()}
        same = all(name in self.data and self.data[name] == value for name, value in fresh.items())
        if same and status in (None, self.status) and reason in (None, self._reason):
            return
        self.data.update(fresh)
        self.status, self._reason = status or self.status, reason if reason is not None else self._reason
        if status is Status.RUNNING:
            self._started = self._started or now()
        self._changed.set()

    async def run(self) -> None:
        """Write for ever. A write that fails is tried again with what is true by then."""
        while True:
            await asyncio.sleep(PAUSE)
            await self._changed.wait()
            self._changed.clear()
            event = Progressed(self._attempt, dict(self.data), self.status, self._reason, self._started)
            try:
                await self._write(event)
            except IllegalTransition as error:
                log.warning("attempt.progress_refused", problem=error.message)
            except QmeError:  # the bus is away, or says no for now; rights too may come back
                self._changed.set()
