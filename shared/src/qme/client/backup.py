"""The whole state of a bus as a folder: one file for each stream, and a list of them that is written last.

How it comes back is in `restore`. The order of the streams keeps what is restored consistent although tasks go on
meanwhile: what refers to something is taken before what it refers to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import qme
from qme.bus.port import Archive, Bus
from qme.contracts import subjects
from qme.errors import BusUnavailable, InvalidRequest

#: written when everything else is; a folder without it is no backup
LIST = "backup.json"
_PIECE = 128 << 10

#: the last task of a user and the trail of a record's changes need the record, that needs its spec; output and queue
#: may be newer: what is there already is found, what is queued once too often is dropped
ORDER = (
    subjects.bucket_stream(subjects.BUCKET_USERS),
    subjects.EVENTS,
    subjects.bucket_stream(subjects.BUCKET_TASKS),
    subjects.bucket_stream(subjects.BUCKET_SPECS),
    subjects.LOGS,
    subjects.TASKS,
    subjects.bucket_stream(subjects.BUCKET_EXECUTORS),
    subjects.bucket_stream(subjects.BUCKET_CONTROL),
)


class Part(BaseModel):
    """One stream of a backup."""

    model_config = ConfigDict(frozen=True)

    stream: str
    file: str
    messages: int
    bytes: int
    sha256: str
    about: dict[str, Any]  #: what the server wants to be told when it takes the stream back


class Backup(BaseModel):
    """What the list says."""

    model_config = ConfigDict(frozen=True)

    qme: str
    made: datetime  #: by the clock of whoever made it, when it was begun
    parts: tuple[Part, ...]


def archive(bus: Bus) -> Archive:
    """Give the bus as one that can be backed up. Raises InvalidRequest."""
    if not isinstance(bus, Archive):
        raise InvalidRequest("this bus can't be backed up")
    return bus


async def make(bus: Bus, folder: Path) -> Backup:
    """Write everything into a new or empty folder, for our eyes only.

    Raises OSError, InvalidRequest for a folder that holds something, BusUnavailable where it broke off: then what is in
    the folder is no backup.
    """
    source = archive(bus)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidRequest(f"{folder} is not empty; a backup needs a folder of its own")
    folder.chmod(0o700)
    made, parts = datetime.now(UTC), []
    for stream in ORDER:
        part = await _take(source, stream, folder)
        if part is not None:
            parts.append(part)
    if not parts:
        raise BusUnavailable("there is nothing of qme on this bus")
    backup = Backup(qme=qme.__version__, made=made, parts=tuple(parts))
    _write_list(folder, backup)
    return backup


async def _take(source: Archive, stream: str, folder: Path) -> Part | None:
    path = folder / f"{stream}.snapshot"
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:

        def write(piece: bytes) -> None:
            file.write(piece)
            digest.update(piece)

        about = await source.snapshot(stream, write)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    if about is None:
        path.unlink()
        return None
    return Part(
        stream=stream,
        file=path.name,
        messages=about["state"]["messages"],
        bytes=size,
        sha256=digest.hexdigest(),
        about=dict(about),
    )


def _write_list(folder: Path, backup: Backup) -> None:
    draft = folder / f"{LIST}.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(backup.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / LIST)


def read(folder: Path) -> Backup:
    """Read the list of a backup and look that every file is as it was written. Raises InvalidRequest, OSError."""
    try:
        backup = Backup.model_validate_json((folder / LIST).read_bytes())
    except FileNotFoundError:
        raise InvalidRequest(f"{folder} holds no whole backup: there is no {LIST} in it") from None
    except ValidationError as error:
        raise InvalidRequest(f"{folder / LIST} can't be read: {error.errors()[0]['msg']}") from error
    for part in backup.parts:
        digest = hashlib.sha256()
        for piece in pieces(folder, part):
            digest.update(piece)
        if digest.hexdigest() != part.sha256:
            raise InvalidRequest(f"{folder / part.file} is not as it was written: its checksum differs")
    return backup


def pieces(folder: Path, part: Part) -> Iterator[bytes]:
    """Give a stream's file in pieces."""
    if Path(part.file).name != part.file:
        raise InvalidRequest(f"{folder / LIST} names a file elsewhere: {part.file!r}")
    with (folder / part.file).open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
