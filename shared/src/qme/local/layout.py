"""What lies where under the stack's folder, who may touch it, and the state file. No processes, no sockets.

Every file has one writer: `state.json` the supervisor, `plan` and `ready` a command that holds `start.lock`, the
server's configuration and credentials whoever starts the server (the supervisor). Locks are `flock`: the kernel
lets go of them when their holder dies, however it dies, so they need no clean-up and can't be stale.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import stat
import time
import unicodedata
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

from qme.errors import LocalStackError

_ELSEWHERE = "set QME_HOME (or QME_LOCAL_DIR) to a folder of your own"
_WORDS = {
    errno.EROFS: f"the file system is read-only; {_ELSEWHERE}",
    errno.EACCES: f"permission denied; {_ELSEWHERE}",
    errno.EPERM: f"permission denied; {_ELSEWHERE}",
    errno.ENOSPC: "no space left; make room, or set QME_LOCAL_DIR to another disk",
    errno.EDQUOT: "your quota is used up; make room, or set QME_LOCAL_DIR to another disk",
    errno.ENOTDIR: f"not a directory; {_ELSEWHERE}",
    errno.EEXIST: f"not a directory; {_ELSEWHERE}",
    errno.ENAMETOOLONG: "the path is too long; set QME_LOCAL_DIR to a shorter one",
}
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
#: bytes that must be free before a server starts: with less it could not even make its streams
_ROOM = 32 << 20
#: seconds between two tries for a lock that another command holds
_PAUSE = 0.02


class Layout:
    """Paths of one stack; `root` is the setting `local_dir`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state.json"
        self.plan = root / "plan"
        #: exists once the stack has been seen to serve; its time is that of the last command
        self.ready = root / "ready"
        #: held by a command while it starts or stops the stack
        self.start_lock = root / "start.lock"
        #: held by the supervisor for its life
        self.supervisor_lock = root / "supervisor.lock"
        #: held by nats-server itself for its life
        self.store_lock = root / "store.lock"
        self.server_config = root / "nats-server.conf"
        self.store = root / "nats"
        self.creds = root / "nats.creds"
        self.logs = root / "log"

    def log(self, name: str) -> Path:
        """Log file of a service."""
        return self.logs / f"{name}.log"


class ServiceState(NamedTuple):
    """One service as the supervisor last saw it; `pid` is 0 while it does not run."""

    name: str
    pid: int = 0
    start_time: int = 0
    boot_id: str = ""
    started: float = 0.0  #: seconds since 1970
    restarts: int = 0
    failures: int = 0  #: ends in a row, each shortly after its start
    error: str = ""  #: why it last ended
    url: str = ""  #: address of the bus that it was started with


class State(NamedTuple):
    """The stack as its supervisor last saw it."""

    pid: int
    start_time: int
    boot_id: str
    started: float
    url: str = ""
    stopping: bool = False
    services: tuple[ServiceState, ...] = ()

    @property
    def port(self) -> int:
        """Port of the server; 0 before one was chosen."""
        tail = self.url.rpartition(":")[2]
        return int(tail) if tail else 0


def read_state(layout: Layout) -> State | None:
    """Give the state; None when there is none that can be used (never written, of another account, damaged)."""
    try:
        with layout.state.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            content = json.load(file)
        content["services"] = tuple(ServiceState(**entry) for entry in content["services"])
        return State(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_state(layout: Layout, state: State) -> None:
    """Replace the state file; a reader sees the old one or the new one. Raises OSError."""
    services = [service._asdict() for service in state.services]
    replace(layout.state, json.dumps({**state._asdict(), "services": services}))


def replace(path: Path, text: str) -> None:
    """Write a file of our own (0600) in one step. One writer at a time. Raises OSError."""
    new = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of the body into a LocalStackError that names the path and what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        what = _WORDS.get(error.errno or 0) or (error.strerror or str(error))
        if error.errno in _NO_LOCKS:
            what = "the file system has no locks; set QME_LOCAL_DIR to a local disk"
        raise LocalStackError(f"can't keep the local stack in {os.fsdecode(where)}: {what}") from error


def prepare(layout: Layout, home: Path) -> None:
    """Make the stack's folder, private to us, and look that it can be used. Safe to repeat. Raises LocalStackError."""
    # The server's configuration can't spell them, and no terminal shows them.
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in str(layout.root)):
        raise LocalStackError(
            f"can't keep the local stack in {str(layout.root)!a}: control characters in the path; {_ELSEWHERE}"
        )
    with explained(layout.root):
        for folder in (home, layout.root, layout.logs, layout.store):
            _make(folder)
        # Ours already, so others can't have put anything into it between the two calls that they could not before.
        for folder in (layout.root, layout.logs, layout.store):
            folder.chmod(0o700)
        enough = has_room(layout)
    if not enough:
        raise LocalStackError(
            f"can't keep the local stack in {layout.root}: less than {_ROOM >> 20} MiB are free; "
            "make room, or set QME_LOCAL_DIR to another disk"
        )


def free(layout: Layout) -> int:
    """Count the bytes that are left on the disk. Raises OSError."""
    disk = os.statvfs(layout.root)
    return disk.f_bavail * disk.f_frsize


def room(layout: Layout) -> int:
    """Count the bytes that the bus's store has or could have. Raises OSError."""
    files = (path.lstat().st_blocks * 512 for path in layout.store.rglob("*"))
    return free(layout) + sum(files)


def has_room(layout: Layout) -> bool:
    """Tell whether the disk has room for a server to work. Raises OSError."""
    return free(layout) >= _ROOM


def _make(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another command makes them at the same moment
            new.mkdir(mode=0o700)
    for mine in [*missing, *([] if missing else [folder])]:
        found = mine.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(mine))
        if found.st_uid != os.geteuid():
            raise LocalStackError(f"{mine} belongs to {_name(found.st_uid)}; {_ELSEWHERE}")


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def try_lock(path: Path) -> int | None:
    """Take a lock and give its descriptor (close it to let go); None when somebody holds it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(path: Path) -> bool:
    """Tell whether somebody holds a lock exclusively. Two who ask at the same moment don't see each other."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.asynccontextmanager
async def locked(path: Path, timeout: float) -> AsyncIterator[None]:
    """Hold a lock for the body, waiting up to `timeout` seconds for it. Raises LocalStackError."""
    deadline = time.monotonic() + timeout
    with explained(path):
        descriptor = try_lock(path)
        while descriptor is None and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)
            descriptor = try_lock(path)
    if descriptor is None:
        raise LocalStackError(f"another qme command has been starting or stopping {path.parent} for too long")
    try:
        yield
    finally:
        os.close(descriptor)
