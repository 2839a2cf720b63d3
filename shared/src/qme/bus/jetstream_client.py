"""A client of nats-py that lasts as long as its one connection. Coming back is `jetstream_link`'s business.

nats-py's own way back keeps the client, but tries its servers one after the other, a frozen one for as long as a
connection may take, and closes the old line with good manners: when the other end takes nothing any more, for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client

#: of a URL that names none
_PORT = 4222


class Unencrypted(ConnectionError):
    """Who answers at the address speaks in the clear."""


class OneConnection(Client):
    """Ends for good as soon as its connection is lost."""

    async def lose(self) -> None:
        """End it as if the connection had been lost just now."""
        await self._process_op_err(ConnectionError("given up"))

    async def _process_op_err(self, e: Exception) -> None:
        # nats-py has no public hook here. Should it lose this one, then a lost line is noticed later.
        transport, self._transport = self._transport, None
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        elif transport is not None:
            transport.close()  # type: ignore[no-untyped-call]
        await super()._process_op_err(e)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # Before anything of ours is sent. Who stands in between could leave out of the greeting that TLS is needed.
        server = self._current_server
        wanted = "tls" in self.options or (server is not None and server.uri.scheme == "tls")
        if initial_connection and wanted and not info.get("tls_required"):
            raise Unencrypted("it offers no TLS, which was asked for, so it is sent nothing")
        await super()._process_info(info, initial_connection)

    @property
    def wants_certificate(self) -> bool:
        """Whether the server greeted us by asking for a certificate; it hangs up on whoever has none."""
        return bool(self._server_info.get("tls_verify"))

    @property
    def address(self) -> str | None:
        """Host and port that it is connected to; None when it is not."""
        url = self.connected_url
        return address(url.geturl()) if url else None


def address(server: str) -> str:
    """Host and port of a server's URL, however it is spelled."""
    url = urlsplit(server if "://" in server else f"nats://{server}")
    return f"{url.hostname}:{url.port or _PORT}"


def others_first(servers: Sequence[str], shunned: str | None) -> list[str]:
    """Put the server at that address last; the others keep their order."""
    return sorted(servers, key=lambda server: address(server) == shunned)
