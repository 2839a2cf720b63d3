"""The in-memory bus's pull: messages of a durable consumer, as the caller has room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from qme.bus.memory_hub import Hub
from qme.bus.port import Message
from qme.bus.topology import ConsumerSpec
from qme.errors import BusUnavailable

if TYPE_CHECKING:
    from qme.bus.memory import MemoryBus

#: seconds until messages that come back and the caller's credit are looked at again
_LOOK_AGAIN = 0.02


class MemoryDelivery:
    """A message handed out by a consumer."""

    def __init__(self, server: Hub, spec: ConsumerSpec, message: Message) -> None:
        self._server, self._spec, self.message = server, spec, message

    async def ack(self) -> None:
        self._finish()

    async def term(self, reason: str) -> None:
        self._finish()

    async def nak(self, delay: float = 0.0) -> None:
        self._again(delay)

    async def in_progress(self) -> None:
        self._again(self._spec.ack_wait)

    def _finish(self) -> None:
        if found := self._server.consumer(self._spec.stream, self._spec.name):
            stream, consumer = found
            consumer.finish(stream, self.message.seq)

    def _again(self, delay: float) -> None:
        found = self._server.consumer(self._spec.stream, self._spec.name)
        if found and self.message.seq in found[1].pending:
            found[1].pending[self.message.seq] = self._server.now() + delay
            self._server.stir()


class MemoryPull:
    """The context and the iterator that `MemoryBus.pull` gives."""

    def __init__(
        self, bus: MemoryBus, stream: str, name: str, credit: Callable[[], int], more: asyncio.Event | None
    ) -> None:
        self._bus, self._stream, self._name, self._credit = bus, stream, name, credit
        self._more = more or asyncio.Event()
        self._open = False

    async def __aenter__(self) -> MemoryPull:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    def __aiter__(self) -> MemoryPull:
        return self

    async def __anext__(self) -> MemoryDelivery:
        server = self._bus.server
        while True:
            self._bus.check(f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}")
            if not self._open:
                raise BusUnavailable("this pull has been closed")
            if self._credit() > 0:
                self._more.clear()
                delivery = self._take()
                if delivery is not None:
                    return delivery
            await server.stirred(_LOOK_AGAIN, self._more)

    def _take(self) -> MemoryDelivery | None:
        server = self._bus.server
        found = server.consumer(self._stream, self._name)
        if found is None:
            return None
        stream, consumer = found
        message = consumer.take(stream, server.now())
        if message is None or server.faults.drops_delivery():
            return None
        return MemoryDelivery(server, consumer.spec, message)
