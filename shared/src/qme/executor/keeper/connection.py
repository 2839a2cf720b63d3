"""One connection to the keeper: lines in, lines out, never a wait. Knows nothing of what the lines mean."""

from __future__ import annotations

import json
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: bytes of one request, and of answers that a client has yet to read; beyond it the client is dropped
MAX_REQUEST, MAX_UNREAD = 16 << 20, 8 << 20


class Connection:
    """What one client sent so far and what it has yet to read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        #: False once it is to be dropped
        self.open = True
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid, self.uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
        self._unparsed = bytearray()
        self._unread = bytearray()
        sock.setblocking(False)

    @property
    def has_unread(self) -> bool:
        """True while the client has to read before more can be written."""
        return bool(self._unread)

    def send(self, message: dict[str, Any]) -> None:
        """Queue one line for the next `flush`."""
        self._unread += json.dumps(message).encode() + b"\n"

    def flush(self) -> None:
        """Write what the socket takes now; a client that reads nothing for too long is dropped."""
        try:
            while self._unread:
                del self._unread[: self.sock.send(self._unread)]
        except BlockingIOError:
            self.open = len(self._unread) <= MAX_UNREAD
        except OSError:
            self.open = False

    def receive(self) -> list[bytes]:
        """Read all that is there and give the lines that are complete."""
        lines: list[bytes] = []
        try:
            while chunk := self.sock.recv(1 << 18):
                self._unparsed += chunk
                if b"\n" in chunk:
                    *complete, self._unparsed = self._unparsed.split(b"\n")
                    lines += map(bytes, complete)
                elif len(self._unparsed) > MAX_REQUEST:
                    break
            self.open = False
        except BlockingIOError:
            pass
        except OSError:
            self.open = False
        return lines
