"""Stores messages: one append, repeated under one message id until it is known what became of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from secrets import token_hex

from qme.bus.jetstream_calls import CONFLICTS, TRY, WRITE_UNDER_WAY, Api, ApiError, parse
from qme.bus.jetstream_parts import Unanswered
from qme.bus.jetstream_read import ID, Reader
from qme.bus.port import Ack, Expect
from qme.errors import BusUnavailable, NotFound, NotPermitted, QmeError


class Appender:
    """Appends to whichever stream takes a subject."""

    def __init__(self, api: Api, reader: Reader) -> None:
        self._api = api
        self._reader = reader

    async def append(self, subject: str, data: bytes, headers: dict[str, str], *, given: bool) -> Ack:
        """Store a message with complete headers; `given`: its id is the caller's, so it may be there already."""
        patience = self._api.patience()
        unsure = False  # an earlier try may have been stored
        taken = False  # there is a stream that takes the subject
        while True:
            try:
                answer = await self._api.link.ask(subject, data, headers=headers, timeout=patience.one_try)
                if answer.data:
                    ack = parse(answer.data)
                    # What our own earlier try stored is no duplicate to the caller.
                    return Ack(int(ack["seq"]), bool(ack.get("duplicate")) and not unsure)
                taken = taken or await self._taken(subject)
                why: object = "no stream takes the message now"
            except Unanswered as error:
                unsure, why = True, error
            except ApiError as error:
                why = error
                if error.number in CONFLICTS and (unsure or given):
                    # The server looks at the expectation before the id: a repeated append conflicts with itself.
                    message = await self._last(error.stream, subject)
                    if message and message[1].get(ID) == headers[ID]:
                        return Ack(message[0], not unsure)
                if not error.passing and not (unsure and error.number == WRITE_UNDER_WAY):
                    raise error.as_qme() from error
            if patience.is_over and unsure and await self._answers():
                raise BusUnavailable(
                    f"the bus answers, but has stored no message on {subject} for {patience.seconds:g} s; "
                    "its disk may be full: its log tells, and after a write error it has to be started anew"
                )
            await patience.rest(why)

    async def _answers(self) -> bool:
        """Tell whether JetStream is there at all."""
        try:
            parse((await self._api.link.ask("$JS.API.INFO", timeout=TRY)).data)
        except NotPermitted:
            return True  # who is refused was heard
        except (Unanswered, QmeError):
            return False
        return True

    async def _last(self, stream: str | None, subject: str) -> tuple[int, Mapping[str, str]] | None:
        if stream is None:
            return None
        try:
            stored = await self._reader.leader(stream, subject)
        except NotPermitted:  # then the caller has to find out what the conflict means
            return None
        return stored and (stored[0].seq, stored[1])

    async def _taken(self, subject: str) -> bool:
        """Tell whether any stream takes the subject; False when that can't be known. Raises NotFound."""
        question = json.dumps({"subject": subject}).encode()
        try:
            answer = await self._api.link.ask("$JS.API.STREAM.NAMES", question, timeout=TRY)
            names = parse(answer.data).get("streams")
        except (Unanswered, ApiError):
            return False
        except NotPermitted:
            return True
        if not names:
            raise NotFound(f"no stream takes {subject}; is a submitter running on this bus?")
        return True


def complete(
    headers: Mapping[str, str] | None, message_id: str | None, expect: Expect | None, ttl: float | None
) -> dict[str, str]:
    """Spell what an append asks for as the server's headers."""
    complete = dict(headers or {})
    complete[ID] = message_id or token_hex(12)
    if expect is not None:
        complete["Nats-Expected-Last-Subject-Sequence"] = str(expect.last)
        if expect.subject is not None:
            complete["Nats-Expected-Last-Subject-Sequence-Subject"] = expect.subject
    if ttl is not None:
        complete["Nats-TTL"] = f"{max(1, math.ceil(ttl))}s"
    return complete
