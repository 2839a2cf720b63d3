"""Whole streams out of the server and back into it, by JetStream's own snapshots. Knows no files.

The server sends a snapshot in pieces and waits for each to be acknowledged, so neither side holds much of it. Nothing
here is repeated: a snapshot or a restore that broke off is begun anew by whoever asked for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nats.aio.msg import Msg

from qme.bus.jetstream_calls import STREAM_EXISTS, STREAM_NOT_FOUND, Api, ApiError, parse
from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Unanswered
from qme.errors import BusUnavailable, Conflict, QmeError

#: bytes of one piece
PIECE = 128 << 10
#: seconds for an answer, and between two pieces; the server looks through a whole stream before the first one
PATIENCE = 60.0
#: seconds between two looks whether the connection still stands
_LOOK = 0.5
#: status of the message that ends a whole snapshot
_WHOLE = "204"
#: code of the server for a restore over a stream that is there
_IN_USE = 10130


class Snapshots:
    """Takes and restores snapshots of streams."""

    def __init__(self, api: Api, patience: float = PATIENCE) -> None:
        self._api = api
        self._patience = patience

    async def take(self, stream: str, write: Callable[[bytes], None]) -> Mapping[str, Any] | None:
        """Hand a stream as it is now to `write`; see the port."""
        link = self._api.link
        incoming = _Incoming(write)

        async def received(message: Msg) -> None:
            if incoming.take(message) and message.reply:
                await link.publish(message.reply, b"")

        inbox = link.inbox()
        subscription = await link.subscribe(inbox, received, problem=incoming.interrupted)
        link.listeners.add(incoming.interrupted)
        try:
            question = {"deliver_subject": inbox, "no_consumers": False, "chunk_size": PIECE, "jsck": False}
            answer = await self._ask(f"$JS.API.STREAM.SNAPSHOT.{stream}", json.dumps(question).encode())
            await incoming.whole(link, self._patience)
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                return None
            raise error.as_qme() from error
        finally:
            link.listeners.discard(incoming.interrupted)
            await link.unsubscribe(subscription)
        return {"config": answer["config"], "state": answer["state"]}

    async def restore(self, about: Mapping[str, Any], pieces: Iterable[bytes], replicas: int) -> None:
        """Make a stream of a snapshot; see the port."""
        config = {**about["config"], "num_replicas": replicas}
        question = json.dumps({"config": config, "state": about["state"]}).encode()
        try:
            answer = await self._ask(f"$JS.API.STREAM.RESTORE.{config['name']}", question)
            for piece in pieces:
                await self._send(answer["deliver_subject"], piece)
            await self._send(answer["deliver_subject"], b"")
        except ApiError as error:
            if error.number in (_IN_USE, STREAM_EXISTS):
                raise Conflict(f"there is a stream {config['name']} already") from error
            raise error.as_qme() from error

    async def remove(self, stream: str) -> None:
        """Remove a stream with all that it holds; one that does not exist is fine."""
        try:
            await self._api.call(f"STREAM.DELETE.{stream}")
        except ApiError as error:
            if error.number != STREAM_NOT_FOUND:
                raise error.as_qme() from error

    async def _ask(self, subject: str, data: bytes) -> dict[str, Any]:
        try:
            return parse((await self._api.link.ask(subject, data, timeout=self._patience)).data)
        except Unanswered as error:
            raise BusUnavailable(f"the bus gave no answer for {self._patience:g} s ({error})") from error

    async def _send(self, subject: str, piece: bytes) -> None:
        """Send a piece; the server says something only to the last one, or when it gives up."""
        try:
            answer = await self._api.link.ask(subject, piece, timeout=self._patience)
        except Unanswered as error:
            raise BusUnavailable(f"the bus takes no more of the restore ({error})") from error
        if (answer.headers or {}).get("Status"):
            raise BusUnavailable("the bus has given the restore up")
        if answer.data:
            parse(answer.data)


class _Incoming:
    """One snapshot on its way here."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._ended = False
        self._error: Exception | None = None
        self._came = asyncio.Event()

    def take(self, message: Msg) -> bool:
        """Take a piece, or the end; True when the server is to send on."""
        self._came.set()
        if not message.data:
            status = (message.headers or {}).get("Status", _WHOLE)
            broken = BusUnavailable(f"the bus broke the snapshot off ({status})")
            self._end(None if status == _WHOLE else broken)
        elif not self._ended:
            try:
                self._write(message.data)
            except OSError as error:
                self._end(error)
        return not self._ended

    def interrupted(self, error: QmeError | None) -> None:
        """Give it up: the connection was lost, or a right is missing."""
        self._end(error or BusUnavailable("the connection was lost during the snapshot; begin it anew"))

    async def whole(self, link: Link, patience: float) -> None:
        """Wait for the end. Raises what broke it off, BusUnavailable when nothing comes for so many seconds."""
        clock = asyncio.get_running_loop().time
        last = clock()
        while not self._ended:
            self._came.clear()
            try:
                async with asyncio.timeout(_LOOK):
                    await self._came.wait()
                last = clock()
            except TimeoutError:
                if not link.connected:
                    self.interrupted(None)
                elif clock() - last > patience:
                    raise BusUnavailable(f"no more of the snapshot has come for {patience:g} s") from None
        if self._error is not None:
            raise self._error

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended, self._error = True, error
            self._came.set()
