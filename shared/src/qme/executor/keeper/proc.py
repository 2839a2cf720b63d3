"""What /proc tells about processes: who they are, whose children, and which of them belong to an attempt.

Reads only; signals are sent in `ending`. Standard library only.
"""

from __future__ import annotations

# pathlib would double the keeper's start time and is slow in a scan of thousands of entries
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

#: the variable that every process of an attempt inherits, its value being ``<uuid>.<attempt>``
MARKER = "QME_TASK_ID"


class Process:
    """One row of /proc."""

    __slots__ = ("alive", "parent", "pid", "session", "start_time", "task_id")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self.pid = pid
        #: False for a zombie, which holds its pid but runs no more
        self.alive = fields[0] not in (b"Z", b"X", b"x")
        self.parent = int(fields[1])
        self.session = int(fields[3])
        #: clock ticks since boot; with the pid and the boot id it names a process for good
        self.start_time = int(fields[19])
        #: the attempt whose marker it carries; filled by `snapshot` only, and for processes of our own uid only
        self.task_id = ""


def _read(path: str, uid: int | None = None) -> bytes:
    """Read a file of /proc whole; empty when it is gone, not ours to read, or not of a process of `uid`."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        if uid is not None and os.fstat(fd).st_uid != uid:
            return b""
        content = b""
        while chunk := os.read(fd, 1 << 17):
            content += chunk
        return content
    except OSError:  # it ended while being read
        return b""
    finally:
        os.close(fd)


def boot_id() -> str:
    """Give the id of this boot of the machine; pids and start times mean nothing outside it."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def process(pid: int) -> Process | None:
    """Look one process up; None when there is none."""
    # The command's name stands in brackets and may hold anything, brackets and blanks included: cut at the last one.
    _, found, rest = _read(f"/proc/{pid}/stat").rpartition(b") ")
    return Process(pid, rest.split()) if found else None


def snapshot() -> list[Process]:
    """Give every living process that can be seen, with the marker of those that are ours."""
    rows = []
    for name in os.listdir("/proc"):
        row = process(int(name)) if name.isdigit() else None
        if row is not None and row.alive:
            row.task_id = _marker(row.pid)
            rows.append(row)
    return rows


def _marker(pid: int) -> str:
    _, found, rest = (b"\0" + _read(f"/proc/{pid}/environ", os.geteuid())).partition(f"\0{MARKER}=".encode())
    return os.fsdecode(rest.partition(b"\0")[0]) if found else ""


def leader(rows: list[Process], task_id: str) -> Process | None:
    """Pick the process that leads an attempt, by the marker alone: a session's leader, else the oldest one."""
    marked = [row for row in rows if row.task_id == task_id]
    return min(marked, key=lambda row: (row.pid != row.session, row.start_time, row.pid), default=None)


def has_children() -> bool:
    """Tell whether anything descends from us: orphans of ended commands come to us, so they count too."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def strays(rows: list[Process], parent: int, known: Container[int]) -> dict[int, int]:
    """Find orphans (pid -> start time) that came to the keeper, their `parent`, and hid whose they are."""
    return {
        row.pid: row.start_time
        for row in rows
        if row.parent == parent and row.pid not in known and not row.task_id
    }


def tree(rows: list[Process], task_id: str, roots: dict[int, int]) -> list[Process]:
    """Find all processes of an attempt among `rows`.

    They are the `roots` (pid -> start time), whatever carries the attempt's marker, and from there on children and
    members of their sessions, to the end. A session counts where its leader belongs here, or did (a root) and another
    living member still does: neither a session that a marked process merely joined, nor a pid that was used again,
    can draw strangers in.
    """
    found: dict[int, Process] = {}
    fresh = [row for row in rows if row.task_id == task_id or roots.get(row.pid) == row.start_time]
    while fresh:
        found.update((row.pid, row) for row in fresh)
        sessions = {row.session for row in found.values() if row.session in found or row.session in roots}
        fresh = [
            row for row in rows if row.pid not in found and (row.parent in found or row.session in sessions)
        ]
    return list(found.values())
