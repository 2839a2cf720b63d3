"""Which local account is at the other end of a TCP connection. Linux only; elsewhere nobody is recognised."""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any

# Not /proc/net: a unit with ProcSubset=pid has its own processes there and nothing else.
_TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_ESTABLISHED = "01"


def peer_uid(connection: socket.socket) -> int | None:
    """Give the uid at the other end of a connection within this machine; None when it can't be told."""
    return uid_between(connection.getsockname(), connection.getpeername())


def uid_between(here: Any, there: Any) -> int | None:
    """Do the same for a connection that is known by its two addresses: ours, and the peer's."""
    if not _ip(there).is_loopback:
        return None  # the tables are this machine's own, and can't speak for another's
    # The peer's own line: there its address is the local one.
    local, remote = _spell(there), _spell(here)
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _ESTABLISHED and columns[1] in local and columns[2] in remote:
                return int(columns[7])
    return None


def _ip(address: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    # A socket for both families names IPv4 peers ::ffff:127.0.0.1.
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _spell(address: Any) -> set[str]:
    """Spell an address as the kernel's tables do: in words of native byte order, IPv4 also as mapped IPv6."""
    ip = _ip(address)
    packed = [ip.packed]
    if isinstance(ip, ipaddress.IPv4Address):
        packed.append(b"\0" * 10 + b"\xff\xff" + ip.packed)
    return {_words(raw) + f":{address[1]:04X}" for raw in packed}


def _words(raw: bytes) -> str:
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", raw))
