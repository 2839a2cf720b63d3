"""Reads the files that a job writes, for the actions: a bounded end of each, or why there is none."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

#: bytes of a file that one answer holds: its end
MOST = 128 << 10


@dataclass(frozen=True, slots=True)
class Text:
    """What can be said of an output file."""

    path: str | None
    #: None: it can't be read, and `note` says why
    text: str | None
    note: str | None = None


def read(path: str | None, standing: str) -> Text:
    """Read the end of an output file; `standing` says how its job stands. Blocks."""
    if path is None:
        return Text(None, None, f"Slurm has not told where the output goes; the job is {standing}")
    try:
        # A network file system may not have noticed yet that another host made the file: look into its folder.
        with os.scandir(Path(path).parent) as entries:
            next(entries, None)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return Text(path, None, f"{path} does not exist (yet); the job is {standing}")
    except OSError as error:
        return Text(path, None, f"{path} can't be read: {error.strerror}")
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return Text(path, None, f"{path} is no plain file")
        left_out = max(0, found.st_size - MOST)
        data = os.pread(fd, MOST, left_out)
    except OSError as error:
        return Text(path, None, f"{path} can't be read: {error.strerror}")
    finally:
        os.close(fd)
    note = f"the first {left_out} bytes of {path} are left out" if left_out else None
    return Text(path, data.decode(errors="backslashreplace"), note)
