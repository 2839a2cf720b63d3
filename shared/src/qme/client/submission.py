"""Makes a submission out of what a person gave: words, files, folder, environment. Reads local files; no bus here."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qme.client import words
from qme.client.origin import new_uuid, umask, working_directory
from qme.contracts.arrays import Array
from qme.contracts.messages import MAX_FILES, Submission
from qme.contracts.resources import NOTHING, Resources
from qme.contracts.tasks import Outcome, RetryPolicy, SentFile
from qme.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be said about a task besides its command; the defaults are those of `qme submit`."""

    message: str | None = None
    executor: str | None = None
    pool: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None  #: None: where this process stands, if the worker has that folder
    timeout: float | None = None  #: seconds of run time
    cpus: int = 0  #: that its worker sets aside for it
    mem: int = 0  #: bytes; beyond, its end is out_of_memory
    gpus: int = 0
    exclusive: bool = False  #: nothing else runs beside it on its worker
    priority: int = 0  #: higher ones first
    array: Array | None = None  #: many tasks in one, see `qme.contracts.arrays`
    retries: int = 0
    retry_delay: float | None = None  #: seconds before the first retry (10)
    retry_backoff: float | None = None  #: factor from one delay to the next (2)
    retry_on: Sequence[Outcome] = ()  #: outcomes that are tried again; none: failed, timeout, lost, node_fail
    group: str | None = None  #: tasks that are named together, as @GROUP
    name: str | None = None  #: of the task within its group
    after: Sequence[str] = ()  #: ids, or @GROUP: not before these have succeeded
    after_any: Sequence[str] = ()  #: not before these have ended
    after_fail: Sequence[str] = ()  #: not before these have ended in another way than success
    key: str | None = None  #: the same key gives the same task
    send: Sequence[str | Path] = ()  #: files that travel along
    stdin: bytes | None = None


def prepare(command: str | Sequence[str], options: Options, *, host: str) -> Submission:
    """Make the submission, with a new uuid. Needs no bus, so that mistakes are seen before one is looked for.

    Raises InvalidRequest for words that can't travel, and for files that can't be read or are too much together.
    """
    argv = words.argv_of(command)
    cwd = os.path.abspath(options.cwd) if options.cwd else working_directory()  # noqa: PTH100 - keeps links
    files = tuple(_sent(Path(path)) for path in options.send)
    stdin = None if options.stdin is None else packed("stdin", options.stdin, 0o600)
    _check_size(files if stdin is None else (*files, stdin))
    return Submission(
        uuid=new_uuid(),
        argv=argv,
        shell=words.needs_shell(argv, cwd),
        cwd=cwd,
        cwd_given=options.cwd is not None,
        umask=umask(),
        env=dict(options.env),
        files=files,
        stdin=stdin,
        timeout=options.timeout,
        resources=_resources(options),
        priority=options.priority,
        array=options.array,
        retry=_retry(options),
        message=options.message,
        labels=dict(options.labels),
        group=options.group,
        name=options.name,
        key=options.key,
        executor=options.executor,
        pool=options.pool,
        host=host,
    )


def _resources(options: Options) -> Resources | None:
    names = ("cpus", "mem", "gpus")
    if any(getattr(options, name) < 0 for name in names):
        raise InvalidRequest("cpus, mem and gpus are numbers from 0 on")
    asked = Resources(exclusive=options.exclusive, **{name: getattr(options, name) for name in names})
    return None if asked == NOTHING else asked


def _retry(options: Options) -> RetryPolicy:
    said: dict[str, Any] = {"limit": options.retries}
    if options.retry_delay is not None:
        said["delay"] = options.retry_delay
    if options.retry_backoff is not None:
        said["backoff"] = options.retry_backoff
    if options.retry_on:
        said["on"] = tuple(options.retry_on)
    return RetryPolicy(**said)


def _sent(path: Path) -> SentFile:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise InvalidRequest(f"can't send {path}: not a regular file")
        if about.st_size > MAX_FILES:
            raise InvalidRequest(
                f"can't send {path}: {about.st_size} bytes, the limit is {MAX_FILES >> 10} KiB"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"can't send {path}: {error.strerror}") from error
    inside = not path.is_absolute() and ".." not in path.parts
    return packed(path.as_posix() if inside else path.name, content, stat.S_IMODE(about.st_mode) & 0o777)


def packed(name: str, content: bytes, mode: int) -> SentFile:
    """Make a sent file of its content."""
    digest = hashlib.sha256(content).hexdigest()
    return SentFile(name=name, content=base64.b64encode(content).decode(), mode=mode, sha256=digest)


def _check_size(files: Sequence[SentFile]) -> None:
    total = sum(sent.size for sent in files)
    if total > MAX_FILES:
        raise InvalidRequest(
            f"the files to send have {total} bytes together, the limit is {MAX_FILES >> 10} KiB"
        )
    names = [sent.name for sent in files]
    if len(set(names)) < len(names):
        raise InvalidRequest(f"two files to send have the same name: {', '.join(sorted(names))}")
