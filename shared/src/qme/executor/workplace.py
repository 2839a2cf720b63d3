"""Where a command runs and what lies there: the working folder, sent files, the file for its stdin.

Nothing here starts anything. All of it is safe to repeat until the command has started; after that nothing is touched,
since the command may have changed, moved or removed what it found.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

from qme.contracts.tasks import SentFile, TaskSpec
from qme.errors import QmeError
from qme.executor.aside import aside
from qme.executor.base import Task

T = TypeVar("T")
P = ParamSpec("P")

#: seconds after which a task says what it waits for
SLOW = 5.0


class WorkplaceError(QmeError):
    """The task's working folder or files can't be made ready; nothing was started."""

    code = "workplace"


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a command finds."""

    cwd: Path
    #: it is a folder of the task's own, since the one it was submitted in does not exist here
    own: bool
    #: None: its stdin is empty
    stdin: Path | None


def prepare(task: Task) -> Workplace:
    """Make everything ready, or say where it is when the command has started already.

    Raises WorkplaceError: a given folder is missing, or a sent file can't be laid out as it is.
    """
    spec = task.spec
    if task.started:
        was = Path(task.record.data.get("pwd") or spec.cwd or "/")
        return Workplace(was, own=False, stdin=None)
    cwd = usable(spec)
    workplace = cwd or task.directory / "work"
    workplace.mkdir(mode=0o700, exist_ok=True)
    for sent in spec.files:
        lay_out(sent, workplace)
    stdin = None
    if spec.stdin is not None:
        stdin = task.directory / "stdin"
        _write(stdin, content(spec.stdin), 0o600)
    return Workplace(workplace, own=cwd is None, stdin=stdin)


async def ready(task: Task, lay: Callable[[Task], T]) -> T:
    """Do `lay(task)`, such as `prepare`, without keeping other tasks waiting while a file server does not answer.

    The record tells that it takes long. Raises what `lay` raises, and ends `execute` where the task must not begin.
    """
    if not task.started:
        await task.confirm()
    return await patiently(task, lay, task)


async def patiently(task: Task, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do what may have to wait for a file server, and have the record tell when it does."""
    laying = asyncio.create_task(aside(work, *args, **options))
    try:
        done, _ = await asyncio.wait({laying}, timeout=SLOW)
        if not done:
            where = task.spec.cwd or "its folder"
            await task.update(reason=f"waits for {where} on {os.uname().nodename}, which does not answer")
        return await laying
    finally:
        laying.cancel()


def usable(spec: TaskSpec) -> Path | None:
    """Give the folder that the task brings, if it can be used here. Raises WorkplaceError for one that has to be."""
    if spec.cwd is None:
        return None
    path = Path(spec.cwd)
    problem = None
    if not path.is_absolute():
        problem = "is not an absolute path"
    elif not path.is_dir():
        problem = "is not a folder" if os.path.lexists(path) else "does not exist"
    elif not os.access(path, os.X_OK):
        problem = "is closed to this account"
    if problem is None:
        return path
    if spec.cwd_given:
        raise WorkplaceError(f"the working directory {spec.cwd} {problem} on {os.uname().nodename}")
    return None


def content(sent: SentFile) -> bytes:
    """Decode a sent file. Raises WorkplaceError where it is not what was sent."""
    try:
        data = base64.b64decode(sent.content, validate=True)
    except binascii.Error as error:
        raise WorkplaceError(f"the sent file {sent.name!r} is damaged: {error}") from error
    if hashlib.sha256(data).hexdigest() != sent.sha256:
        raise WorkplaceError(f"the sent file {sent.name!r} is damaged: its hash is another one")
    return data


def lay_out(sent: SentFile, folder: Path) -> Path:
    """Write a sent file below a folder, never outside of it and never over a file with other content."""
    data = content(sent)
    name = PurePosixPath(sent.name)
    if not name.parts or name.is_absolute() or ".." in name.parts or "\0" in sent.name:
        raise WorkplaceError(f"the sent file {sent.name!r} would lie outside of the working directory")
    path = folder / name
    # Where a link on the way leads is known only now.
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise WorkplaceError(
            f"the sent file {sent.name!r} would lie outside of the working directory {folder}"
        )
    if path.is_symlink() or path.exists():
        if path.is_file() and path.read_bytes() == data:
            return path
        raise WorkplaceError(f"{path} exists with other content than the sent file {sent.name!r}")
    _write(path, data, sent.mode & 0o777)
    return path


def _write(path: Path, data: bytes, mode: int) -> None:
    # Whole or not at all, so that a repetition never meets half a file.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            draft.chmod(mode)
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorkplaceError(f"{path} can't be written: {error.strerror}") from error
