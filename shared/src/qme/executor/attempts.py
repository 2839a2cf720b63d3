"""What the spool knows of one attempt: its files, its start token, how it ended. Reads only; the keeper writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qme.executor.processes import Identity


@dataclass(frozen=True, slots=True)
class Token:
    """What the start token says; its mere existence means that nobody may start this attempt any more."""

    #: the boot in which it was made; None when its maker died before the first line was complete
    boot_id: str | None = None
    #: unix seconds
    started: float | None = None
    #: None while, or because, the keeper did not get to note it
    pid: int | None = None
    #: of that pid, in clock ticks since boot
    start_time: int | None = None

    @property
    def identity(self) -> Identity | None:
        """The command's first process, where it was noted."""
        if self.pid is None or self.start_time is None or self.boot_id is None:
            return None
        return Identity(self.pid, self.start_time, self.boot_id)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended."""

    #: exit code, or a signal's negative number
    status: int
    #: CPU seconds of the command and the children it waited for
    utime: float
    stime: float
    #: largest resident set of any one process, in KiB
    maxrss_kb: int
    #: unix seconds
    started: float
    finished: float
    #: why it could not be run at all, else None
    error: str | None = None
    #: what it was ended for, "cancel" or "timeout"; None where it ended by itself
    ended_for: str | None = None

    @property
    def returncode(self) -> int:
        """The code as a shell gives it: 128 + n for signal n."""
        return self.status if self.status >= 0 else 128 - self.status

    @property
    def signal(self) -> int | None:
        """The signal that ended it, if one did."""
        return -self.status if self.status < 0 else None

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read a keeper's record. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            status=int(record["status"]),
            utime=float(record["utime"]),
            stime=float(record["stime"]),
            maxrss_kb=int(record["maxrss_kb"]),
            started=float(record["started"]),
            finished=float(record["finished"]),
            error=record["error"],
            ended_for=record.get("ended_for"),
        )


@dataclass(frozen=True, slots=True)
class AttemptDir:
    """The folder of one attempt of one task."""

    path: Path
    uuid: str
    attempt: int

    @property
    def start(self) -> Path:
        """The token."""
        return self.path / "start"

    @property
    def stdout(self) -> Path:
        """Everything the command wrote to its standard output."""
        return self.path / "stdout"

    @property
    def stderr(self) -> Path:
        """Everything the command wrote to its standard error."""
        return self.path / "stderr"

    @property
    def exit(self) -> Path:
        """The exit record."""
        return self.path / "exit"

    @property
    def workdir(self) -> Path:
        """The task's own working folder, where it has one."""
        return self.path / "workdir"

    def create(self) -> None:
        """Make the folder; safe to repeat."""
        self.path.mkdir(mode=0o700, exist_ok=True)

    def read_token(self) -> Token | None:
        """Read the start token; None: this attempt was never started. OSError: nobody can tell."""
        try:
            lines = _read(self.start).split(b"\n")[:-1]
        except FileNotFoundError:
            return None
        fields: dict[str, Any] = {}
        for line in lines:
            try:
                fields |= json.loads(line)
            except (ValueError, TypeError):  # torn by a crash: what the other lines say still holds
                continue
        return Token(**{name: fields.get(name) for name in Token.__slots__})

    def read_exit(self) -> Exit | None:
        """Read the exit record; an incomplete one counts as absent, its writer is still at it.

        Raises OSError where something else stands in its place.
        """
        try:
            data = _read(self.exit)
        except FileNotFoundError:
            return None
        try:
            return Exit.from_record(json.loads(data)) if data.endswith(b"\n") else None
        except (KeyError, TypeError, ValueError):
            return None

    def size(self) -> int:
        """Bytes on disk, files of the working folder included; what can't be looked at counts nothing."""
        return sum(
            _blocks(os.path.join(folder, name))  # noqa: PTH118 -- os.walk gives text
            for folder, folders, files in os.walk(self.path)
            for name in (*folders, *files)
        )


def _read(path: Path) -> bytes:
    # Not blocking: a named pipe in its place must not hold up the worker.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        return file.read() or b""


def _blocks(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0
