"""Exit records: what they say, and how they reach the spool even when the disk is full for a while."""

from __future__ import annotations

# pathlib would double the keeper's start time
import errno
import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: seconds between attempts to write records that could not be written
RETRY = 1.0
#: attempts to write one for which there is room, before it is left in memory
TRIES = 5

#: what goes by, once somebody makes room
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def exit_record(status: int, started: float, usage: Any = None, error: str | None = None) -> dict[str, Any]:
    """Word the end of a command; `status` is an exit code or a signal's negative number, times are unix seconds."""
    return {
        "status": status,
        "utime": usage.ru_utime if usage else 0.0,
        "stime": usage.ru_stime if usage else 0.0,
        "maxrss_kb": usage.ru_maxrss if usage else 0,
        "started": started,
        "finished": time.time(),
        "error": error,
    }


class Journal:
    """Writes exit records, and keeps those that could not be written."""

    def __init__(self) -> None:
        #: task id -> record that is in memory only, be it for now or for good
        self.unsaved: dict[str, dict[str, Any]] = {}
        #: monotonic second of the next try, where something is to be tried again
        self.retry_at = 0.0
        #: task id -> how often it could not be written although there was room
        self._failures: dict[str, int] = {}

    @property
    def is_busy(self) -> bool:
        """True while there is something to be tried again; what was given up holds the keeper no longer."""
        return any(self._failures[task_id] < TRIES for task_id in self.unsaved)

    def save(self, task_id: str, record: dict[str, Any]) -> bool:
        """Write a record; False when it is kept in memory for now."""
        self.unsaved[task_id] = record
        self._failures[task_id] = 0
        self._try(task_id)
        self.retry_at = time.monotonic() + RETRY
        return task_id not in self.unsaved

    def retry(self, now: float) -> None:
        """Write what could not be written, if it is time for it."""
        if self.unsaved and now >= self.retry_at:
            for task_id in [name for name in self.unsaved if self._failures[name] < TRIES]:
                self._try(task_id)
            self.retry_at = now + RETRY

    def _try(self, task_id: str) -> None:
        try:
            _write(task_id, self.unsaved[task_id])
        except OSError as error:
            if error.errno not in _NO_ROOM:
                self._failures[task_id] += 1
                if self._failures[task_id] == TRIES:
                    record = json.dumps(self.unsaved[task_id])
                    sys.stderr.write(
                        f"tasks/{task_id}/exit can't be written: {error.strerror}; it is {record}\n"
                    )
        else:
            del self.unsaved[task_id], self._failures[task_id]


def _write(task_id: str, record: dict[str, Any]) -> None:
    """Write a record in one go; readers take it as absent until its newline is there. Raises OSError."""
    data = json.dumps(record).encode() + b"\n"
    folder = f"tasks/{task_id}"
    # Not blocking, and through no link: whatever somebody put in its place must not stop the keeper.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(f"{folder}/exit", flags, 0o600)
    except FileNotFoundError:
        if os.path.lexists(folder):
            raise
        return  # the attempt was removed from the spool: nobody will ask for it
    try:
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)
