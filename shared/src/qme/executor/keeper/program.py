"""Becomes the keeper of a spool: its place, its lock, what it inherits; then `service` runs. Standard library only."""

from __future__ import annotations

# pathlib would double the keeper's start time
import ctypes
import fcntl
import os
import signal

from .service import Service

_PR_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> int:
    """Keep a spool: ``SPOOL [IDLE_SECONDS [SYNC 0|1]]``. Ends at once, with 0, where another keeper has it."""
    os.umask(0o077)
    os.chdir(argv[0])
    os.makedirs("tasks", exist_ok=True)
    lock = os.open("keeper.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    Service(lock, float(argv[1]) if argv[1:] else 60.0, argv[2:] != ["0"]).run()
    return 0
