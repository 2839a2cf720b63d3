"""Exit records: what they say, and how they reach the spool even when the disk is full for a while."""

from __future__ import annotations

# pathlib would double the keeper's start time
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: seconds between attempts to write records for which the disk had no room
RETRY = 1.0


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
    """Writes exit records, and keeps those that could not be written yet."""

    def __init__(self) -> None:
        #: task id -> record that is in memory only
        self.unsaved: dict[str, dict[str, Any]] = {}
        #: monotonic second of the next try, where something is unsaved
        self.retry_at = 0.0

    def save(self, task_id: str, record: dict[str, Any]) -> bool:
        """Write a record; False when it is kept in memory for now."""
        if _write(task_id, record):
            return True
        self.unsaved[task_id] = record
        self.retry_at = time.monotonic() + RETRY
        return False

    def retry(self, now: float) -> None:
        """Write what could not be written, if it is time for it."""
        if self.unsaved and now >= self.retry_at:
            self.unsaved = {key: record for key, record in self.unsaved.items() if not _write(key, record)}
            self.retry_at = now + RETRY


def _write(task_id: str, record: dict[str, Any]) -> bool:
    """Write a record in one go; readers take it as absent until its newline is there."""
    data = json.dumps(record).encode() + b"\n"
    try:
        fd = os.open(f"tasks/{task_id}/exit", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except FileNotFoundError:
        return True  # the attempt was removed from the spool: nobody will ask for it
    except OSError:
        return False
    try:
        return os.write(fd, data) == len(data)
    except OSError:
        return False
    finally:
        os.close(fd)
