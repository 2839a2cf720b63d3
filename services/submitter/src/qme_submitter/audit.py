"""The trail of what users asked for, beside the answers: it costs a request no time. No decisions."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qme.bus.port import Bus
from qme.bus.port import Request as Incoming
from qme.contracts.messages import HEADER_BEHALF, Asked, Request, Results
from qme.contracts.subjects import request_event, untoken
from qme.errors import QmeError
from qme.observe.logging import get_logger
from qme_submitter.buckets import Clock
from qme_submitter.changes import Asker

log = get_logger(__name__)

SERVICE = "submitter"
#: bytes of a refused request that are looked at, and characters that are kept of anything the asker says
LARGEST, SHOWN = 1 << 20, 300

_Short = Annotated[str, Field(max_length=200)]


class _Frame(BaseModel):
    """What of a refused request is worth keeping; it may be anything."""

    model_config = ConfigDict(extra="ignore")

    id: _Short = ""
    client: _Short = ""
    executor: _Short | None = None
    pool: _Short | None = None


def _name(token: str) -> str:
    try:
        return untoken(token)
    except QmeError:  # that may be what it was refused for
        return token


def _short(text: str | None) -> str | None:
    """Cut what an asker may say at any length: else it decides whether the trail has room for what was asked."""
    return None if text is None else text[:SHOWN]


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
            id=request.id[:SHOWN],
            verb=verb,
            user=by.name,
            operator=by.operator,
            asked_by=incoming.user,
            client=request.client[:SHOWN],
            executor=_short(getattr(request, "executor", None)),
            pool=_short(getattr(request, "pool", None)),
            reason=_short(getattr(request, "reason", None)),
            done=tuple(one.taskid or one.uuid for one in each if one.error is None),
            refused={one.uuid[:SHOWN]: one.error["code"] for one in each if one.error},
        )
        self._publish_soon(request_event(SERVICE, incoming.user), event)

    def note_refusal(self, incoming: Incoming, verb: str, error: QmeError, *, admin: bool) -> None:
        """Record a request of which nothing was done, with as much of it as can be read. Returns at once."""
        try:
            frame = _Frame.model_validate_json(incoming.data[:LARGEST])
        except ValidationError:
            frame = _Frame()
        person = incoming.headers.get(HEADER_BEHALF) if admin else None
        event = Asked(
            at=self._clock(),
            verb=verb,
            user=(person or _name(incoming.user))[:SHOWN],
            operator=admin and person is None,
            asked_by=incoming.user,
            problem=f"{error.code}: {error.message}"[:SHOWN],
            **frame.model_dump(),
        )
        self._publish_soon(request_event(SERVICE, incoming.user), event)

    def _publish_soon(self, subject: str, event: Asked) -> None:
        task = asyncio.create_task(self._publish(subject, event))
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
