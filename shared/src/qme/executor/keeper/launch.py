"""Starts one command, at most once per attempt: the start token, the spool files, the spawn.

The working directory of the keeper is its spool, so every path here is short and relative. The order is the guarantee:
first the token, made with O_EXCL and (unless told otherwise) synced; then only its maker may spawn, or take it back
where it could not. Standard library only.
"""

from __future__ import annotations

# pathlib would double the keeper's start time
import errno
import os
import signal
import time
from contextlib import suppress

from . import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Spawn = Callable[[str, list[str], dict[str, str], tuple[int, int, int]], int]

#: statuses of commands that never ran, as every shell gives them
CANNOT_RUN, NOT_FOUND = 126, 127

#: the machine was short of something for a moment: nothing was started, so the token may be taken back
_SHORTAGE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_RESET = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
_BOOT_ID = proc.boot_id()
_DEVNULL = os.open(os.devnull, os.O_RDONLY)


class CannotStart(Exception):
    """The command can't be run; `status` is what a shell would give for it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Running:
    """A command that was started and not reaped yet."""

    __slots__ = ("ended_for", "pid", "start_time", "started", "task")

    def __init__(self, task: str, pid: int, start_time: int, started: float) -> None:
        self.task = task
        self.pid = pid
        self.start_time = start_time
        #: unix seconds
        self.started = started
        #: why we were asked to end it while it still ran
        self.ended_for: str | None = None


class Launch:
    """One attempt whose token was made here and now, on its way to being started: `spawn` or `withdraw` it."""

    def __init__(self, task: str, request: dict[str, Any]) -> None:
        """Make the token. FileExistsError: the attempt was started before; other errors: nothing happened."""
        self.task = task
        self.started = time.time()
        self.withdrawn = False
        self._folder = folder = f"tasks/{task}"
        self._argv, self._env = request["argv"], request["env"]
        self._cwd, self._umask, self._stdin = request["cwd"], request["umask"], request.get("stdin")
        self._fds: list[int] = []
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        self._token = self._open("start", os.O_EXCL)
        try:
            # Takes the room that the pid will need, so that a full disk is met before the spawn, not after it.
            _append(self._token, f'{{"boot_id": "{_BOOT_ID}", "started": {self.started}}}\n')
            self._stdout = self._open("stdout")
            self._stderr = self._open("stderr")
        except OSError:
            self.withdraw()
            raise

    def _open(self, name: str, extra: int = 0) -> int:
        fd = os.open(f"{self._folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | extra, 0o600)
        self._fds.append(fd)
        return fd

    def sync(self) -> None:
        """Bring the token to the disk, so that it refuses a second start even after a power cut."""
        os.fsync(self._token)

    def withdraw(self) -> None:
        """Take the token back and close: allowed to its maker only, and only while nothing was started."""
        self.withdrawn = True
        with suppress(OSError):  # the token stays, and makes the attempt a lost one: never a second start
            os.unlink(f"{self._folder}/start")
        self._close()

    def _close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def spawn(self, home: int) -> Running:
        """Start the command. `home` is the descriptor of the spool to come back to.

        CannotStart: the command itself is at fault, and its stderr file says so. OSError: a passing shortage.
        """
        try:
            pid = self._run(home)
        except CannotStart as error:
            with suppress(OSError):
                os.write(self._stderr, f"qme: {error}\n".encode(errors="surrogateescape"))
            self._close()
            raise
        # A child that nobody has waited for keeps its row, so this can't be missing or another's.
        row = proc.process(pid)
        start_time = row.start_time if row else 0
        with suppress(OSError):  # the room is taken; and without this line recovery searches by the marker
            _append(self._token, f'{{"pid": {pid}, "start_time": {start_time}}}\n')
        self._close()
        return Running(self.task, pid, start_time, self.started)

    def _run(self, home: int) -> int:
        umask = os.umask(self._umask)
        try:
            stdin = self._open_stdin()
            try:
                os.chdir(self._cwd)
            except OSError as error:
                raise CannotStart(CANNOT_RUN, f"working directory {self._cwd}: {error.strerror}") from None
            return _execute(self._argv, self._env, (stdin, self._stdout, self._stderr))
        except (TypeError, ValueError) as error:  # Python's own words for them differ from version to version
            nul = any("\0" in text for text in (*self._argv, self._cwd, *self._env, *self._env.values()))
            raise CannotStart(CANNOT_RUN, "the command holds a NUL byte" if nul else str(error)) from None
        finally:
            os.fchdir(home)
            os.umask(umask)

    def _open_stdin(self) -> int:
        if not self._stdin:
            return _DEVNULL
        try:
            # Both flags are for this opening only: no fifo may stop the keeper, no tty may become its own.
            fd = os.open(self._stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise CannotStart(CANNOT_RUN, f"stdin {self._stdin}: {error.strerror}") from None
        self._fds.append(fd)
        os.set_blocking(fd, True)
        return fd


def _append(fd: int, line: str) -> None:
    data = line.encode()
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _execute(argv: list[str], env: dict[str, str], files: tuple[int, int, int]) -> int:
    """Spawn as execvpe would: first hit on the task's PATH, and a file of no known format goes to /bin/sh."""
    path = _which(argv[0], env)
    try:
        try:
            return _start(path, argv, env, files)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return _start("/bin/sh", ["/bin/sh", path, *argv[1:]], env, files)
    except FileNotFoundError:
        # The file was there a moment ago: what is missing is its interpreter, or an ELF file's loader.
        interpreter = _interpreter(path)
        text = f"{interpreter}: bad interpreter" if interpreter else "required file not found"
        raise CannotStart(NOT_FOUND, f"{argv[0]}: {text}") from None
    except OSError as error:
        if error.errno in _SHORTAGE:
            raise
        raise CannotStart(CANNOT_RUN, f"{argv[0]}: {error.strerror}") from None


def _spawn_posix(path: str, argv: list[str], env: dict[str, str], files: tuple[int, int, int]) -> int:
    # Every other descriptor of the keeper is close-on-exec.
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(files)]
    return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigmask=[], setsigdef=_RESET)


def _spawn_portable(path: str, argv: list[str], env: dict[str, str], files: tuple[int, int, int]) -> int:
    """Do the same with a Python built against a glibc before 2.26, whose posix_spawn can't make sessions."""
    import subprocess

    stdin, stdout, stderr = files
    child = subprocess.Popen(
        argv,
        executable=path,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        close_fds=False,
    )
    child.returncode = 0  # the keeper's own wait reaps it; the module must not
    return child.pid


def _spawner() -> Spawn:
    try:
        os.posix_spawn("/", ["/"], {}, setsid=True)
    except NotImplementedError:
        return _spawn_portable
    except OSError:  # a directory can't run: the question was whether `setsid` is understood
        pass
    return _spawn_posix


_start = _spawner()


def _which(name: str, env: dict[str, str]) -> str:
    """Find the program on the PATH of the task, relative to the working directory of the task."""
    denied = ""
    for path in _candidates(name, env):
        if os.path.isdir(path):
            denied = denied or ("Is a directory" if path == name else "")
        elif os.access(path, os.X_OK):
            return path
        elif os.path.exists(path):
            denied = "Permission denied"
    if denied:
        raise CannotStart(CANNOT_RUN, f"{name}: {denied}")
    text = "No such file or directory" if "/" in name else "command not found"
    raise CannotStart(NOT_FOUND, f"{name}: {text}")


def _candidates(name: str, env: dict[str, str]) -> Iterator[str]:
    if "/" in name:
        yield name
    elif name:
        for folder in env.get("PATH", os.defpath).split(":"):
            yield f"{folder or '.'}/{name}"


def _interpreter(path: str) -> str:
    """Read the interpreter that a script asks for; empty for other files."""
    try:
        with open(path, "rb") as file:
            line = file.read(256).split(b"\n", 1)[0]
    except OSError:
        return ""
    words = line[2:].split(None, 1) if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""
