"""A client that talks to servers of our own account only, for the embedded stack. Which servers those are is not its.

A password proves us to the server; nothing proves the server to us. When the embedded server dies, any user of the
machine can listen on its port, and would be sent the password and asked for work. So each connection, the first and
every later one, is looked up in the kernel's table before a byte is sent or anything received is believed.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from nats.aio.client import DEFAULT_BUFFER_SIZE, Srv
from nats.aio.transport import TcpTransport
from nats.errors import NoServersError

from qme.bus.jetstream_client import OneConnection
from qme.observe.peer import peer_uid


class Impostor(ConnectionError):
    """Who answers at the address is not a server of our own account."""


class OwnClient(OneConnection):
    """A client of nats-py that has no login, and no transport, before it knows who is at the other end."""

    async def connect(  # type: ignore[override] # the others are passed on
        self, *args: Any, user: str | None = None, password: str | None = None, **options: Any
    ) -> None:
        self._login = {"user": user, "password": password}
        self._reason: OSError | None = None
        try:
            await super().connect(*args, **options)
        except NoServersError:  # which does not say why
            self._err = self._reason
            raise

    async def _connect_to_server(self, s: Srv) -> None:
        # nats-py has no public hook here. Should it lose this one, then the login is missing, and is not given away.
        s.last_attempt = time.monotonic()
        transport = _GreetedTransport()  # type: ignore[no-untyped-call]
        try:
            await transport.connect(s.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])
        except OSError as error:
            self._reason = error
            raise
        # Not before: what waits to be sent would go out through it.
        self._transport = transport
        self._auth_configured = True
        self.options.update(self._login)


class _GreetedTransport(TcpTransport):
    """A connection that stands once our own server has said its first line, which is kept for the reader."""

    _greeting = b""

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: float) -> None:
        await super().connect(uri, buffer_size, connect_timeout)  # type: ignore[arg-type] # any number does
        try:
            # A connection that was not accepted yet has no owner. Who has sent something has accepted it.
            async with asyncio.timeout(connect_timeout):
                self._greeting = await super().readline()  # type: ignore[no-untyped-call]
            _recognise(self._bare_io_writer)
        except BaseException:
            self.close()  # type: ignore[no-untyped-call]
            raise

    async def readline(self) -> bytes:
        line, self._greeting = self._greeting, b""
        return line or await super().readline()  # type: ignore[no-untyped-call]


def _recognise(writer: asyncio.StreamWriter | None) -> None:
    """Raise Impostor unless our own account is at the other end; OSError when the connection is gone."""
    owner = peer_uid(writer.get_extra_info("socket")) if writer else None
    if owner != os.geteuid():
        whose = "nobody knows whose" if owner is None else "another account's"
        raise Impostor(f"{whose} program answers there, so it is sent nothing")
