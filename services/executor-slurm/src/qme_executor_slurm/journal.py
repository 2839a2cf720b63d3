"""The memory of one attempt's submission, on disk before and after every sbatch: what makes a second job impossible.

Lines of JSON, each brought to the disk before anything else happens: ``submitting`` (an sbatch is about to be called),
``nothing`` (it is certain that those before it made no job), ``submitted`` (with the job). Runs no command.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qme_executor_slurm.jobs import Job


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that came of it, with all that has to survive a restart."""

    job: int
    #: unix seconds just before sbatch was called
    at: float
    #: clusters to ask about it, as the user named them
    clusters: str | None = None
    #: unix seconds when sbatch named it; None: it was found by its marker
    answered: float | None = None
    #: expanded paths, None while Slurm has not told them
    stdout: str | None = None
    stderr: str | None = None
    directory: str | None = None

    def followed(self, mark: tuple[str, int]) -> Job:
        """Give the job as it is followed; nothing is known of how it stands."""
        answered = None if self.answered is None else datetime.fromtimestamp(self.answered, UTC)
        return Job(self.job, datetime.fromtimestamp(self.at, UTC), mark, answered=answered)


@dataclass(frozen=True, slots=True)
class Open:
    """Calls of sbatch of which it is not known whether they made a job."""

    #: unix seconds just before the first and the last of them
    first: float
    last: float
    clusters: str | None = None


class Journal:
    """The journal of one attempt; one process uses it at a time (its worker holds the lock of its spool)."""

    def __init__(self, path: Path) -> None:
        """Read what there is. Raises OSError when it can't be read: then nothing may be submitted."""
        self._path = path
        #: nothing was ever written
        self._fresh = True
        self.submitted: Submitted | None = None
        self.open: Open | None = None
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return
        self._fresh = False
        for line in text.split(b"\n"):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError):  # torn by a crash: what it was about had not begun
                continue

    @property
    def untouched(self) -> bool:
        """Nothing of this attempt was ever begun here."""
        return self._fresh

    def intend(self, at: float, marker: str, clusters: str | None) -> None:
        """Note that sbatch is about to be called. Raises OSError: then it must not be."""
        self._write({"phase": "submitting", "at": at, "marker": marker, "clusters": clusters})

    def nothing(self) -> None:
        """Note that no job came of all calls so far."""
        self._write({"phase": "nothing"})

    def accept(self, submitted: Submitted) -> None:
        """Note the job, or more about it."""
        self._write({"phase": "submitted", **asdict(submitted)})

    def _take(self, line: dict[str, Any]) -> None:
        match line["phase"]:
            case "submitting":
                first = self.open.first if self.open else line["at"]
                self.open = Open(first, line["at"], line["clusters"])
            case "nothing":
                self.open = None
            case "submitted":
                known = {one.name for one in fields(Submitted)}
                self.submitted = Submitted(**{name: line[name] for name in known & line.keys()})

    def _write(self, line: dict[str, Any]) -> None:
        only = os.O_EXCL if self._fresh else 0  # nobody else may have begun meanwhile
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | only, 0o600)
        try:
            # The leading line end closes a line that a crash has torn.
            os.write(fd, b"\n" + json.dumps(line).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        if self._fresh:
            _sync(self._path.parent)
            self._fresh = False
        self._take(line)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
