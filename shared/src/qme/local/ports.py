"""Ports of this machine's loopback: a free one, whose it is, who is connected to it. From the kernel's own table.

A connection attempt would tell that somebody listens, but not who: on a shared machine a port that our server left
may be another user's a moment later, and a client would send it our password.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
_TABLE = Path("/proc/net/tcp")
_ADDRESS = f"{int.from_bytes(socket.inet_aton(HOST), sys.byteorder):08X}"
_ESTABLISHED, _LISTEN = "01", "0A"
_LOCAL, _REMOTE, _STATE, _UID, _INODE = 1, 2, 3, 7, 9


def is_ours(port: int) -> bool:
    """Tell whether a process of our account listens on a loopback port."""
    mine, address = str(os.geteuid()), _spell(port)
    return any(
        row[_STATE] == _LISTEN and row[_LOCAL] == address and row[_UID] == mine for row in _rows(address)
    )


def strangers(port: int, servants: Iterable[int]) -> bool:
    """Tell whether anybody but the processes `servants` (pids) is connected to a loopback port."""
    address = _spell(port)
    clients = {
        row[_INODE] for row in _rows(address) if row[_STATE] == _ESTABLISHED and row[_REMOTE] == address
    }
    for pid in servants:
        clients -= _sockets(pid)
    return bool(clients)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with socket.socket() as probe:
        # As servers do: a connection that has just ended must not make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def choose() -> int:
    """Give a loopback port that is free now; the caller has to cope when it is not any more."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _spell(port: int) -> str:
    return f"{_ADDRESS}:{port:04X}"


def _rows(address: str) -> Iterator[list[str]]:
    # Listeners come first in the table, which is read piece by piece: whoever finds one has read little of it.
    with suppress(OSError), _TABLE.open(encoding="ascii") as table:
        for line in table:
            if address in line:
                yield line.split()


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())):
                    found.add(match[1])
    return found
