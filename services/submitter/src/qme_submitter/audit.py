"""The trail of what users asked for, beside the answers: it costs a request no time. No decisions."""

from __future__ import annotations

import asyncio

from qme.bus.port import Bus
from qme.bus.port import Request as Incoming
from qme.contracts.messages import Asked, Request, Results
from qme.contracts.subjects import request_event
from qme.errors import QmeError
from qme.observe.logging import get_logger
from qme_submitter.buckets import Clock
from qme_submitter.changes import Asker

log = get_logger(__name__)

SERVICE = "submitter"


class Audit:
    """Publishes one event for each request that was to change something."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._pending: set[asyncio.Task[None]] = set()

    def note(
        self, incoming: Incoming, request: Request, verb: str, by: Asker, results: Results | None = None
    ) -> None:
        """Record who asked for what, and how it was answered. Returns at once."""
        each = results.results if results else ()
        event = Asked(
            at=self._clock(),
            id=request.id,
            verb=verb,
            user=by.name,
            operator=by.operator,
            asked_by=incoming.user,
            client=request.client,
            executor=getattr(request, "executor", None),
            pool=getattr(request, "pool", None),
            reason=getattr(request, "reason", None),
            done=tuple(one.taskid or one.uuid for one in each if one.error is None),
            refused={one.uuid: one.error["code"] for one in each if one.error},
        )
        task = asyncio.create_task(self._publish(request_event(SERVICE, incoming.user), event))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def flush(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._pending)

    async def _publish(self, subject: str, event: Asked) -> None:
        try:
            await self._bus.append(subject, event.model_dump_json().encode())
        except QmeError as error:
            log.warning("audit.lost", error=error.message, request=event.id, verb=event.verb)
