"""What answering requests means, whatever carries them: the own-inbox rule, concurrency with a bound, errors as JSON.

Both adapters use it. No subscriptions and no connection here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping

from qme.bus.port import Handler, Request
from qme.contracts import subjects
from qme.errors import InvalidRequest, LimitReached, QmeError, to_wire

#: requests that one server works on at a time; the rest waits at the bus
AT_ONCE = 64
#: seconds that running handlers get when the server stops
GRACE = 5.0

Respond = Callable[[str, bytes], Awaitable[None]]

_log = logging.getLogger(__name__)


class Desk:
    """Takes requests, runs their handlers concurrently and sends the answers."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._free = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    async def take(
        self, handler: Handler, subject: str, reply: str, data: bytes, headers: Mapping[str, str]
    ) -> asyncio.Task[None] | None:
        """Start work on a request, once there is room for it; None when it is dropped for its reply subject."""
        try:
            own = subjects.reply_is_own(subject, reply)
        except InvalidRequest:
            own = False
        if not own:
            _log.warning("dropped a request on %s: its reply is not in the requester's inbox", subject)
            return None
        request = Request(subject, subjects.requester(subject), data, headers)
        await self._free.acquire()
        task = asyncio.create_task(self._work(handler, request, reply))
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Let running handlers finish, for `GRACE` seconds, then cancel them."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free.release()

    async def _work(self, handler: Handler, request: Request, reply: str) -> None:
        try:
            answer = await handler(request)
        except QmeError as error:
            answer = _as_json(error)
        except Exception:
            _log.exception("the handler of %s failed", request.subject)
            answer = _as_json(QmeError("the service failed on this request; its log tells more"))
        try:
            try:
                await self._respond(reply, answer)
            except LimitReached as error:  # of the answer: the asker should not wait in vain
                await self._respond(reply, _as_json(error))
        except QmeError as error:
            _log.warning("an answer on %s could not be sent: %s", request.subject, error.message)


def _as_json(error: QmeError) -> bytes:
    return json.dumps(to_wire(error)).encode()
