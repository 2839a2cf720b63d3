"""Live messages with a safety net. No meaning of any message here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from qme.bus.port import Message

#: seconds without a message after which a reader looks for itself: the bus can drop an event while it elects a leader
SILENCE = 30.0


async def patient(
    messages: AsyncIterator[Message | None], silence: float = SILENCE
) -> AsyncIterator[Message | None]:
    """Give the messages, and None after each `silence` seconds without one: then the reader reads the stream again."""
    coming: asyncio.Future[Message | None] = asyncio.ensure_future(_next(messages))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=silence)
            if not done:
                yield None
                continue
            try:
                message = coming.result()
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(_next(messages))
            yield message
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _next(messages: AsyncIterator[Message | None]) -> Message | None:
    return await anext(messages)
