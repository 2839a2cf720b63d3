"""The keeper's socket in the spool, made anew where somebody removed it, as cleaners of /tmp do.

Knows no protocol. Only who holds the spool's lock may take the socket's place: the lock's file is looked after too.
"""

from __future__ import annotations

# pathlib would double the keeper's start time
import fcntl
import os
import selectors
import socket
import sys
from contextlib import suppress

#: seconds between two looks at whether the socket is still there
ROUND = 10.0

_SOCKET, _LOCK = "keeper.sock", "keeper.lock"


class Door:
    """The listening socket of one keeper, whose working directory is its spool."""

    def __init__(self, home: int, lock: int, selector: selectors.BaseSelector) -> None:
        """Bind it. `home`: a descriptor of the spool; `lock`: one of its lock, which we hold. Raises OSError."""
        self._home = home
        self._lock = lock
        self._selector = selector
        #: monotonic second of the next look
        self.look_at = 0.0
        self._trouble = ""
        self.listener = self._bind()

    def _bind(self) -> socket.socket:
        # Through the descriptor, since a spool's own path may be longer than a socket's address can be.
        address = f"/proc/self/fd/{self._home}/{_SOCKET}"
        with suppress(FileNotFoundError):
            os.unlink(address)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(address)
            os.chmod(address, 0o600)
            listener.listen(64)
            listener.setblocking(False)
            self._bound = _identity(os.stat(address))
        except OSError:
            listener.close()
            raise
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def look(self, now: float) -> None:
        """See, if it is time for it, that the socket is in its place. Whoever is connected stays so."""
        if now < self.look_at:
            return
        self.look_at = now + ROUND
        try:
            if self._is_in_place() or not self._holds_lock():
                return
            old, self.listener = self.listener, self._bind()
            self._selector.unregister(old)
            old.close()
            self._say(f"{_SOCKET} had been removed or replaced; made anew")
        except OSError as error:
            self._say(f"{_SOCKET} was removed or replaced, and can't be made anew: {error.strerror}")

    def _is_in_place(self) -> bool:
        try:
            return _identity(os.lstat(_SOCKET)) == self._bound
        except FileNotFoundError:
            return False

    def _holds_lock(self) -> bool:
        """Tell whether the lock that others see is ours; where its file was removed with the socket, make another."""
        try:
            return _identity(os.stat(_LOCK)) == _identity(os.fstat(self._lock))
        except FileNotFoundError:
            pass
        try:
            lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileExistsError, BlockingIOError):  # another keeper has come meanwhile
            return False
        self._lock = lock
        return True

    def close(self) -> None:
        """Take the socket away, if it is still ours."""
        with suppress(OSError):
            if self._is_in_place():
                os.unlink(_SOCKET)

    def _say(self, text: str) -> None:
        if text != self._trouble:
            sys.stderr.write(f"{text}\n")
        self._trouble = text


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
