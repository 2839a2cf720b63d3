"""Calls of the JetStream API: repeated until answered or out of patience, with its refusals as qme's errors."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from qme.bus.jetstream_doubt import PATIENCE as DOUBT
from qme.bus.jetstream_doubt import Doubt
from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Unanswered
from qme.errors import (
    BusUnavailable,
    Conflict,
    InvalidRequest,
    LimitReached,
    NotFound,
    QmeError,
)

#: seconds that one try waits for its answer
TRY = 2.0
#: seconds between tries, at first and at most
_PAUSE, _LONGEST_PAUSE = 0.05, 0.5

#: error codes of the server (its errors.json)
WRONG_LAST = 10071
WRITE_UNDER_WAY = 10164
#: a message of this id is being stored by the nodes, and it is not certain yet that it will be
ID_UNDER_WAY = 10158
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
STREAM_EXISTS = 10058
MESSAGE_NOT_FOUND = 10037
CONFLICTS = {WRONG_LAST, WRITE_UNDER_WAY}
_NOT_FOUND = {STREAM_NOT_FOUND, CONSUMER_NOT_FOUND, MESSAGE_NOT_FOUND}
_LIMITS = {10002, 10023, 10026, 10027, 10028, 10047, 10053, 10054, 10077}
_DISK_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_INVALID = {10003, 10165, 10166, 10111}


class ApiError(QmeError):
    """The bus refused a call."""

    def __init__(self, error: dict[str, Any], stream: str | None = None) -> None:
        self.stream = stream
        self.number = int(error.get("err_code", 0))
        #: the server can't say yet: it starts, elects a leader, or is about to store the same message
        self.passing = self.number == ID_UNDER_WAY or (
            int(error.get("code", 0)) in (408, 503) and self.number not in _LIMITS
        )
        super().__init__(f"the bus says: {error.get('description', 'no reason')} ({self.number})")

    def as_qme(self) -> QmeError:
        """Give the error that the port promises."""
        if self.number in CONFLICTS:
            return Conflict()
        if _DISK_FULL.search(self.message):
            return LimitReached(f"the disk of the bus is full; make room there ({self.message})")
        for numbers, kind in ((_NOT_FOUND, NotFound), (_LIMITS, LimitReached), (_INVALID, InvalidRequest)):
            if self.number in numbers:
                return kind(self.message)
        return BusUnavailable(self.message) if self.passing else self


class Patience:
    """How long one call goes on trying: pauses that grow, until the time is up."""

    def __init__(self, seconds: float, doubt: Doubt) -> None:
        now = asyncio.get_running_loop().time()
        self._until = now + seconds
        self._doubt_at = now + DOUBT
        self._pause = _PAUSE
        self._doubt = doubt
        self.seconds = seconds

    @property
    def is_over(self) -> bool:
        """The time is up."""
        return asyncio.get_running_loop().time() >= self._until

    @property
    def one_try(self) -> float:
        """Seconds that the next try may take."""
        return max(0.0, min(TRY, self._until - asyncio.get_running_loop().time()))

    async def rest(self, why: object) -> None:
        """Pause before the next try. Raises BusUnavailable when the time is up."""
        now = asyncio.get_running_loop().time()
        left = self._until - now
        if left <= 0:
            raise BusUnavailable(f"the bus gave no answer for {self.seconds:g} s ({why})")
        if now >= self._doubt_at:
            self._doubt_at = now + DOUBT
            await self._doubt.voice()
        await asyncio.sleep(min(self._pause, left))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


class Api:
    """The JetStream API over a link."""

    def __init__(self, link: Link, patience: float, doubt: Doubt) -> None:
        self.link = link
        self._patience = patience
        self._doubt = doubt

    def patience(self) -> Patience:
        """Start the clock of a call."""
        return Patience(self._patience, self._doubt)

    async def call(self, verb: str, body: object = None) -> dict[str, Any]:
        """Call the API and give its answer; the call must be one that may be repeated.

        Raises ApiError for what the server refuses, BusUnavailable, NotPermitted.
        """
        data = b"" if body is None else json.dumps(body).encode()
        patience = self.patience()
        while True:
            try:
                answer = await self.link.ask(f"$JS.API.{verb}", data, timeout=patience.one_try)
                return parse(answer.data)
            except (Unanswered, ApiError) as error:
                if isinstance(error, ApiError) and not error.passing:
                    raise
                await patience.rest(error)


def parse(data: bytes) -> dict[str, Any]:
    """Read an answer. Raises ApiError, and Unanswered for an empty one (nobody serves this now)."""
    if not data:
        raise Unanswered("JetStream is not there")
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        raise ApiError(answer["error"], answer.get("stream"))
    return answer
