"""A bounded queue between whoever receives followed messages and whoever reads them; both adapters use it. No IO."""

from __future__ import annotations

import asyncio
from collections import deque

from qme.bus.port import Message

MAX_MESSAGES = 8192
MAX_BYTES = 16 * 1024 * 1024


class Feed:
    """Iterates over messages; None stands where some are missing. Putting never waits."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._limits = max_messages, max_bytes
        self._queue: deque[Message | None] = deque()
        self._bytes = 0
        self._error: Exception | None = None
        self._filled = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message, or a gap where the reader is too far behind."""
        most, most_bytes = self._limits
        if len(self._queue) >= most or self._bytes + len(message.data) > most_bytes:
            self.gap()
            return
        self._queue.append(message)
        self._bytes += len(message.data)
        self._filled.set()

    def gap(self) -> None:
        """Say that messages are missing here; gaps in a row are one."""
        if not self._queue or self._queue[-1] is not None:
            self._queue.append(None)
        self._filled.set()

    def fail(self, error: Exception) -> None:
        """End the feed: once it is read empty, every further read raises the error."""
        self._error = self._error or error
        self._filled.set()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Message | None:
        while not self._queue:
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        message = self._queue.popleft()
        if message is not None:
            self._bytes -= len(message.data)
        return message
