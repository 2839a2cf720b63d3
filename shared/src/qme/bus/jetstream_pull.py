"""Takes messages from a durable consumer: one pull request at a time, the next one in the same inbox.

nats-py's own fetch waits out its whole timeout when a server dies under it. Here idle heartbeats and the
connection's own news tell that a pull is dead, and dropping the inbox makes sure that it delivers nothing more. A pull
that delivered all that it was asked for leaves nothing behind, so its inbox serves the next one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from types import TracebackType

from nats.aio.msg import Msg

from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Subscription, Unanswered
from qme.bus.jetstream_read import own_headers
from qme.bus.port import Delivery, Message
from qme.errors import BusUnavailable, QmeError

#: seconds that one pull request stands, and between the server's signs of life on it
EXPIRES = 30.0
HEARTBEAT = 1.0
#: seconds until `credit` is asked again, where nobody says that it has grown
ASK_AGAIN = 0.2
#: seconds until the next pull after one that the server refused
REFUSED = 0.25

_log = logging.getLogger(__name__)


class JetStreamDelivery:
    """A message handed out by a consumer."""

    def __init__(self, link: Link, message: Msg) -> None:
        self._link = link
        self._reply = message.reply
        tokens = message.reply.split(".")
        # $JS.ACK.<stream>.<consumer>.<delivered>.<seq>.…; newer servers put domain and account before the stream
        at = 7 if len(tokens) > 9 else 5
        taken = datetime.fromtimestamp(int(tokens[at + 2]) / 1e9, UTC)
        self.message = Message(
            message.subject, message.data, own_headers(message.headers or {}), int(tokens[at]), taken
        )

    async def ack(self) -> None:
        await self._say(b"+ACK")

    async def nak(self, delay: float = 0.0) -> None:
        how = b"" if delay <= 0 else b" " + json.dumps({"delay": int(delay * 1e9)}).encode()
        await self._say(b"-NAK" + how)

    async def term(self, reason: str) -> None:
        await self._say(b"+TERM " + reason.encode())

    async def in_progress(self) -> None:
        await self._say(b"+WPI")

    async def _say(self, what: bytes) -> None:
        with suppress(Unanswered, BusUnavailable):  # never confirmed: the message is then handed out again
            await self._link.publish(self._reply, what)


class Pull:
    """The context and the iterator that `Bus.pull` gives."""

    def __init__(
        self,
        link: Link,
        stream: str,
        consumer: str,
        credit: Callable[[], int],
        more: asyncio.Event | None,
    ) -> None:
        self._link = link
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._credit = credit
        self._more = more or asyncio.Event()
        self._ready: deque[JetStreamDelivery] = deque()
        self._news = asyncio.Event()  # something for the reader
        self._stir = asyncio.Event()  # something for the pull under way
        self._error: QmeError | None = None
        self._left = 0  # messages that the pull under way may still deliver
        self._status: str | None = None  # what the server ended it with
        self._inbox: tuple[str, Subscription] | None = None
        self._reply = ""  # where the pull under way is answered
        self._numbers = count(1)
        self._heard = False

    async def __aenter__(self) -> Pull:
        self._link.listeners.add(self._interrupted)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.listeners.discard(self._interrupted)
        self._fail(BusUnavailable("this pull has been closed"))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for delivery in self._ready:  # nobody will read these: others may have them at once
            with suppress(QmeError):
                await delivery.nak()

    def __aiter__(self) -> Pull:
        return self

    async def __anext__(self) -> Delivery:
        while not self._ready:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        return self._ready.popleft()

    async def _run(self) -> None:
        with self._link.refusals.of("publish", (self._subject,), self._problem):
            try:
                await self._keep_pulling()
            finally:
                await self._drop_inbox()

    async def _keep_pulling(self) -> None:
        while self._error is None:
            want = self._credit() - len(self._ready)
            if want <= 0:
                await _wait(self._more, ASK_AGAIN)
                self._more.clear()
                continue
            try:
                await self._pull(want)
            except (Unanswered, BusUnavailable) as error:
                _log.debug("a pull failed: %s", error)
                await asyncio.sleep(REFUSED)
            except QmeError as error:
                self._fail(error)

    async def _pull(self, want: int) -> None:
        await self._link.ready()
        if self._inbox is None:
            name = self._link.inbox()
            self._inbox = name, await self._link.subscribe(f"{name}.*", self._received, problem=self._problem)
        try:
            self._begin(want)
            question = {
                "batch": want,
                "expires": int(EXPIRES * 1e9),
                "idle_heartbeat": int(HEARTBEAT * 1e9),
            }
            await self._link.publish(self._subject, json.dumps(question).encode(), self._reply)
            missed = 0
            # Counted, not timed: after a pause of this process the signs of life are there, but not read yet.
            while self._left > 0 and self._status is None and self._error is None and missed < 2:
                self._heard = False
                self._stir.clear()
                stirred = await _wait(self._stir, HEARTBEAT * 1.2)
                missed = 0 if self._heard or stirred else missed + 1
        finally:
            if self._left > 0 or self._status is not None:
                await self._drop_inbox()
        if self._status not in (None, "408"):  # 404, 409, 503: there is no such consumer (yet), or it moves
            await asyncio.sleep(REFUSED)

    async def _drop_inbox(self) -> None:
        if self._inbox is not None:
            # What is on its way is still taken, to be given back, or it would be missing until its ack_wait ends.
            (_, subscription), self._inbox = self._inbox, None
            await self._link.unsubscribe(subscription, drain=self._left > 0)

    def _begin(self, want: int) -> None:
        assert self._inbox is not None  # noqa: S101 -- for the type checker
        self._left, self._status = want, None
        self._reply = f"{self._inbox[0]}.{next(self._numbers)}"

    async def _received(self, message: Msg) -> None:
        self._heard = True
        headers = message.headers or {}
        if message.reply.startswith("$JS.ACK."):
            self._left -= 1
            self._ready.append(JetStreamDelivery(self._link, message))
            self._news.set()
        elif message.subject == self._reply and headers.get("Status") != "100":
            self._status = headers.get("Status", "503")
            _log.debug("a pull ended: %s %s", self._status, headers.get("Description", ""))
        self._stir.set()

    def _interrupted(self, error: QmeError | None) -> None:
        if error is not None:
            self._fail(error)
        self._status = "408"
        self._stir.set()

    def _problem(self, error: QmeError | None) -> None:
        if error is not None:
            self._fail(error)

    def _fail(self, error: QmeError) -> None:
        self._error = self._error or error
        self._news.set()
        self._stir.set()


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but not longer than that; tells whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
