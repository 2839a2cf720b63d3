"""One supervised connection to NATS: what was asked, what was answered, what is subscribed. Knows nothing of streams.

A client of nats-py lasts for one connection. `Link` treats its end as a normal event, whatever ended it: it dials again
for ever and subscribes to everything again. Every refusal that NATS reports out of band (it answers nothing when a
permission is missing) is handed to the call that it belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from secrets import token_hex
from typing import Any

from nats.aio.msg import Msg
from nats.errors import BadHeaderError, BadSubjectError, SlowConsumerError
from nats.errors import Error as NatsError

from qme.bus.jetstream_client import OneConnection
from qme.bus.jetstream_dial import dial, quietly_close
from qme.bus.jetstream_own import Impostor
from qme.bus.jetstream_parts import Answers, Callback, Problem, Refusals, Subscription, Unanswered
from qme.contracts import subjects
from qme.errors import BusUnavailable, InvalidRequest, LimitReached, QmeError

#: seconds between tries to come back, at first and at most
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
#: seconds that ending a subscription may take
_DRAIN = 1.0

_log = logging.getLogger(__name__)

#: takes what is worth telling a person about the connection
Tell = Callable[[str], None]


class Link:
    """A connection as one user, which is there again by itself after every interruption."""

    def __init__(
        self,
        servers: Sequence[str],
        login: Mapping[str, Any],
        *,
        user: str,
        name: str,
        connect_timeout: float,
        ping_interval: float,
        own: bool = False,
        tell: Tell | None = None,
    ) -> None:
        self.user = user
        options: dict[str, Any] = {
            **login,
            "name": name,
            "inbox_prefix": subjects.inbox(user),
            "ping_interval": ping_interval,
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
        }
        self._dialling = servers, options, connect_timeout, own
        self._tell = tell or _log.warning
        self._client: OneConnection | None = None
        self._shunned: str | None = None  #: address of the server that was left
        self._up = asyncio.Event()
        self._closed: BusUnavailable | None = None
        self._redial: asyncio.Task[None] | None = None
        self._numbers = count(1)
        self._answers = Answers(f"{subjects.inbox(user)}.{token_hex(8)}")
        self._subscriptions: set[Subscription] = set()
        self.refusals = Refusals(user)
        #: called after every interruption, and with an error when the connection is closed
        self.listeners: set[Callable[[QmeError | None], None]] = set()

    # -- life --------------------------------------------------------------------------------------------------------
    @property
    def connected(self) -> bool:
        return self._up.is_set() and self._closed is None

    @property
    def max_payload(self) -> int:
        return self._client.max_payload if self._client else 0

    async def open(self) -> None:
        """Connect for the first time. Raises NotPermitted, BusUnavailable."""
        self._client = await dial(*self._dialling)
        self._up.set()
        await self.subscribe(self._answers.subject, self._answers.take, problem=self._answers.refuse)

    async def close(self) -> None:
        """End it all; never raises."""
        if self._closed is not None:
            return
        self._closed = BusUnavailable("this connection to the bus has been closed")
        self._up.set()  # wakes who waits for it, to find it closed
        self._answers.give_up(self._closed, everything=True)
        for listener in list(self.listeners):
            listener(self._closed)
        if self._redial is not None:
            self._redial.cancel()
            await asyncio.wait((self._redial,))  # it closes what it was about to open
        if self._client is not None:
            await quietly_close(self._client)

    async def ready(self) -> OneConnection:
        """Wait until the connection stands. Raises BusUnavailable when it has been closed."""
        await self._up.wait()
        if self._client is None or self._closed is not None:
            raise self._closed or BusUnavailable
        return self._client

    @property
    def client(self) -> OneConnection | None:
        """What is connected now, or was last."""
        return self._client

    @property
    def may_choose(self) -> bool:
        """There are other servers to connect to."""
        return len(self._dialling[0]) > 1

    async def leave(self, client: OneConnection) -> None:
        """Connect to another server than this client's, unless that has happened already."""
        if client is self._client and not client.is_closed:
            self._shunned = client.address
            await client.lose()

    # -- sending -----------------------------------------------------------------------------------------------------
    async def publish(
        self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send a message.

        Raises LimitReached when it is too large, InvalidRequest for a bad subject, Unanswered while the connection is
        away.
        """
        size = len(data) + sum(len(key) + len(value) + 4 for key, value in (headers or {}).items()) + 12
        if self._client is None or self._closed:
            raise self._closed or Unanswered
        if size > self.max_payload:  # the server would close the connection for good, over headers at least
            raise LimitReached(
                f"a message of {size} bytes is over the bus's limit of {self.max_payload} bytes"
            )
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            await self._client.publish(subject, data, reply=reply, headers=headers)
        except (BadSubjectError, BadHeaderError) as error:
            raise InvalidRequest(f"a message on {subject!r} can't be sent: {error}") from error
        except (NatsError, OSError) as error:
            raise Unanswered from error
        if task and task.cancelling() > cancelled:  # nats-py swallows a cancellation while it flushes
            raise asyncio.CancelledError

    async def ask(
        self,
        subject: str,
        data: bytes = b"",
        *,
        timeout: float,
        headers: dict[str, str] | None = None,
        parts: list[Msg] | None = None,
        patient: bool = False,
    ) -> Msg:
        """Send a request once, as soon as the connection stands, and give the answer.

        With `parts`, messages of the answer are collected there until one is a status. A lost connection ends the
        wait, unless `patient`. Raises Unanswered, NotPermitted and what `publish` raises.
        """
        with self._answers.expected(parts, patient=patient) as (reply, future):

            def refused(error: QmeError | None) -> None:
                if error is not None and not future.done():
                    future.set_exception(error)

            with self.refusals.of("publish", (subject, reply), refused):
                try:
                    async with asyncio.timeout(timeout):
                        await self.ready()
                        await self.publish(subject, data, reply, headers)
                        return await future
                except TimeoutError:
                    raise Unanswered(f"no answer on {subject}") from None

    # -- receiving ---------------------------------------------------------------------------------------------------
    def inbox(self) -> str:
        """Name a new subject in this user's own inbox."""
        return f"{subjects.inbox(self.user)}.{token_hex(8)}.{next(self._numbers)}"

    async def subscribe(
        self,
        subject: str,
        received: Callback,
        *,
        problem: Problem,
        queue: str = "",
    ) -> Subscription:
        """Subscribe, now and after every interruption. Raises BusUnavailable, InvalidRequest."""
        subscription = Subscription(subject, queue, received, problem)
        client = await self.ready()
        try:
            self._subscriptions.add(subscription)
            self.refusals.watch("subscription", subject, problem)
            await subscription.attach(client)
        except NatsError as error:
            await self.unsubscribe(subscription)
            if not client.is_closed:
                raise InvalidRequest(f"{subject!r} can't be followed: {error}") from error
            raise BusUnavailable from error
        return subscription

    async def unsubscribe(self, subscription: Subscription, *, drain: bool = False) -> None:
        """End a subscription; never raises, may be repeated. With `drain`, what is on its way is received first."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        self.refusals.forget("subscription", subscription.subject, subscription.problem)
        wire = subscription.wire
        if wire is not None:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(_DRAIN):
                    await (wire.drain() if drain and self.connected else wire.unsubscribe())  # type: ignore[no-untyped-call]

    async def sync(self, timeout: float) -> None:
        """Wait until the server has seen all that was sent, and its refusals are here. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    client = await self.ready()
                    with contextlib.suppress(NatsError, OSError):
                        # nats-py sends a ping past what it still holds back, so only the second one closes the line.
                        # A ping that an interruption swallowed is not answered later, so not too long at once.
                        await client.flush(timeout=2)
                        return await client.flush(timeout=2)
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise BusUnavailable from None

    # -- what nats-py tells --------------------------------------------------------------------------------------------
    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            for subscription in list(self._subscriptions):
                if subscription.wire is error.sub:
                    subscription.problem(None)
        elif not self.refusals.take(str(error)):
            _log.debug("nats: %s", error)

    async def _on_closed(self) -> None:
        # A client that could not even connect is closed as well: then there is a caller, or a redial, to deal with it.
        dead = self._client is not None and self._client.is_closed
        if dead and self._closed is None and (self._redial is None or self._redial.done()):
            self._up.clear()
            self._answers.give_up(Unanswered("the connection was lost"))
            self._redial = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        pause = _PAUSE
        told: set[bool] = set()  # once each: that it is away, and that somebody else sits in its place
        while (trouble := await self._again()) is not None:
            kind = isinstance(trouble.__cause__, Impostor)
            if kind not in told:
                told.add(kind)
                self._tell(f"the bus is away; trying again until it is back ({trouble})")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if told:
            self._tell("the bus is back")
        self._up.set()
        for listener in list(self.listeners):
            listener(None)

    async def _again(self) -> Exception | None:
        """Try once to stand where the lost connection stood; gives what is in the way."""
        client = None
        try:
            client = await dial(*self._dialling, shunned=self._shunned)
            for subscription in list(self._subscriptions):
                await subscription.attach(client)
            await client.flush(timeout=2)
        except (QmeError, NatsError, OSError) as error:
            if client is not None:
                await quietly_close(client)
            return error
        if client.is_closed:  # with the last answer; who is told of that looks at the one before it still
            return ConnectionError("it was lost again at once")
        self._client = client
        return None
