"""Follows subjects and answers requests by core subscriptions. What answering means is in `qme.bus.serving`.

Why nats.micro is not used: docs/decisions/012-an-adapter-on-the-bare-client.md. Discovery: `jetstream_service`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from nats.aio.msg import Msg

from qme.bus.feed import Feed
from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Callback, Unanswered
from qme.bus.jetstream_read import is_stored, own_headers, stored_message
from qme.bus.jetstream_service import Discovery
from qme.bus.port import Handler, Message
from qme.bus.serving import Desk
from qme.errors import BusUnavailable, QmeError


@asynccontextmanager
async def follow(
    link: Link, subjects: Sequence[str], patience: float
) -> AsyncIterator[AsyncIterator[Message | None]]:
    """Receive messages as they are published; see the port."""
    feed = Feed()

    async def received(message: Msg) -> None:
        feed.put(_followed(message))

    def news(error: QmeError | None) -> None:
        if error is None:
            feed.gap()
        else:
            feed.fail(error)

    link.listeners.add(news)
    try:
        async with _subscribed(link, dict.fromkeys(subjects, received), "", feed, patience):
            yield feed
    finally:
        link.listeners.discard(news)


@asynccontextmanager
async def serve(
    link: Link, name: str, handlers: Mapping[str, Handler], version: str, patience: float
) -> AsyncIterator[None]:
    """Answer requests while the context lasts; see the port."""

    async def respond(reply: str, answer: bytes) -> None:
        try:
            await link.publish(reply, answer)
        except Unanswered as error:
            raise BusUnavailable from error

    desk = Desk(respond)
    discovery = Discovery(link, name, version, tuple(handlers))

    async def received(pattern: str, message: Msg) -> None:
        headers = message.headers or {}
        task = await desk.take(handlers[pattern], message.subject, message.reply, message.data, headers)
        if task is not None:
            discovery.count(pattern, task)

    takers: dict[str, Callback] = {pattern: partial(received, pattern) for pattern in handlers}
    try:
        async with _subscribed(link, takers, name, Feed(), patience), discovery:
            yield
    finally:
        await desk.close()


@asynccontextmanager
async def _subscribed(
    link: Link, takers: Mapping[str, Callback], queue: str, feed: Feed, patience: float
) -> AsyncIterator[None]:
    """Subscribe while the context lasts, and know on entry that the server has accepted it all."""
    refusals: list[QmeError] = []

    def problem(error: QmeError | None) -> None:
        if error is None:
            feed.gap()
        else:
            refusals.append(error)
            feed.fail(error)

    subscriptions = []
    try:
        for subject, received in takers.items():
            subscriptions.append(await link.subscribe(subject, received, problem=problem, queue=queue))
        await link.sync(patience)
        if refusals:
            raise refusals[0]
        yield
    finally:
        for subscription in subscriptions:
            await link.unsubscribe(subscription, drain=bool(queue))


def _followed(message: Msg) -> Message:
    if not is_stored(message):
        return Message(message.subject, message.data, own_headers(message.headers or {}))
    # Republished by a stream: under another subject, with its place in the stream in the headers.
    stored = stored_message(message)
    return Message(message.subject, message.data, stored.headers, stored.seq, stored.time)
