"""Parts of a link: who waits for an answer, who hears of a refusal, subscriptions that can be attached again.

No connection is opened here, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Literal

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as Wire

from qme.errors import NotPermitted, QmeError

_VIOLATION = re.compile(r'permissions violation for (publish|subscription)[^"]*"([^"]*)"')
#: what nats-py may hold back for a subscription before it drops messages
_PENDING_BYTES = 32 * 1024 * 1024

Callback = Callable[[Msg], Awaitable[None]]
#: is told None when messages were dropped, and an error when a right is missing
Problem = Callable[[QmeError | None], None]
Kind = Literal["publish", "subscription"]

_log = logging.getLogger(__name__)


class Unanswered(Exception):
    """No answer came, and none will: the server may or may not have done what was asked."""


class Subscription:
    """Interest in a subject that survives reconnects and new clients.

    `problem` gets None when messages were dropped, and an error when the interest was refused.
    """

    def __init__(self, subject: str, queue: str, received: Callback, problem: Problem) -> None:
        self.subject, self.queue, self.received, self.problem = subject, queue, received, problem
        self.wire: Wire | None = None

    async def attach(self, client: Client) -> None:
        """Subscribe on this client."""
        self.wire = await client.subscribe(
            self.subject, queue=self.queue, cb=self.received, pending_bytes_limit=_PENDING_BYTES
        )


class Refusals:
    """Hands each "permissions violation" to the calls that it belongs to.

    NATS answers nothing to what it does not permit: it only says so beside, naming the subject.
    """

    def __init__(self, user: str) -> None:
        self._user = user
        self._watchers: defaultdict[tuple[str, str], list[Problem]] = defaultdict(list)

    def watch(self, kind: Kind, subject: str, problem: Problem) -> None:
        """Call `problem` at every refusal of this subject, until `forget`."""
        self._watchers[kind, subject.lower()].append(problem)  # nats-py makes the server's words lower-case

    def forget(self, kind: Kind, subject: str, problem: Problem) -> None:
        """End a `watch`."""
        place = (kind, subject.lower())
        self._watchers[place].remove(problem)
        if not self._watchers[place]:
            del self._watchers[place]

    @contextmanager
    def of(self, kind: Kind, subjects: Iterable[str], problem: Problem) -> Iterator[None]:
        """Watch several subjects while the context lasts."""
        for subject in subjects:
            self.watch(kind, subject, problem)
        try:
            yield
        finally:
            for subject in subjects:
                self.forget(kind, subject, problem)

    def take(self, words: str) -> bool:
        """Tell whoever watches; False when the server's words are no refusal."""
        found = _VIOLATION.search(words)
        if found is None:
            return False
        verb = "publish to" if found[1] == "publish" else "follow"
        whose = " (an operator's)" if found[2].startswith("qme.admin.") else ""
        refusal = NotPermitted(f"{self._user} has no right to {verb} {found[2]}{whose}")
        watchers = list(self._watchers.get((found[1], found[2]), ()))
        # Whoever watches tells it; else nobody would.
        _log.log(logging.DEBUG if watchers else logging.WARNING, "%s", refusal.message)
        for problem in watchers:
            problem(refusal)
        return True


class Answers:
    """Who waits for an answer, each under a reply subject of its own in one inbox."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._numbers = count(1)
        self._waiting: dict[str, tuple[asyncio.Future[Msg], list[Msg] | None, bool]] = {}
        self._refusal: QmeError | None = None

    @property
    def subject(self) -> str:
        """What to subscribe to."""
        return f"{self._inbox}.*"

    @contextmanager
    def expected(
        self, parts: list[Msg] | None, *, patient: bool
    ) -> Iterator[tuple[str, asyncio.Future[Msg]]]:
        """Give a reply subject and the answer to come; `parts` takes what comes before the closing status."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = (future, parts, patient)
        if self._refusal is not None:
            future.set_exception(self._refusal)
        try:
            yield reply, future
        finally:
            del self._waiting[reply]
            future.cancel()

    async def take(self, message: Msg) -> None:
        """Take an answer, or a part of one."""
        future, parts, _ = self._waiting.get(message.subject, (None, None, False))
        if future is None or future.done():
            return
        if parts is not None and "Nats-Sequence" in (message.headers or {}):
            parts.append(message)
        else:
            future.set_result(message)

    def refuse(self, error: QmeError | None) -> None:
        """Fail everybody, until the connection is lost: the inbox itself is not permitted."""
        if error is not None:
            self.give_up(error, everything=True)
            self._refusal = error

    def give_up(self, error: Exception, *, everything: bool = False) -> None:
        """Fail those who wait, the patient ones only with `everything`."""
        self._refusal = None
        for future, _, patient in self._waiting.values():
            if not future.done() and (everything or not patient):
                future.set_exception(error)
