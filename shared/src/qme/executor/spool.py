"""One worker's spool: the folder in which its identity, its attempts and their output live through every restart.

    worker.lock worker-id keeper.lock keeper.sock keeper.log
    tasks/<uuid>.<attempt>/start stdout stderr exit workdir/

Layout, reading and cleaning only: tokens and exit records are written by the keeper, output by the commands.
Everything is 0700 or 0600, since output and environment of a command are its user's alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from qme.contracts.subjects import is_uuid
from qme.errors import QmeError
from qme.executor.attempts import AttemptDir, Exit, Token
from qme.executor.processes import is_alive

__all__ = ["AttemptDir", "Exit", "Spool", "SpoolBusy", "Token"]

#: the standard library's: structlog would slow down everybody who only wants the SDK
log = logging.getLogger(__name__)

_ATTEMPT = re.compile(r"([0-9a-f-]{36})\.([1-9][0-9]{0,8})\Z")


class SpoolBusy(QmeError):
    """Another worker uses this spool; stop it first, or give this one a spool of its own."""

    code = "spool_busy"


class Spool:
    """The spool of one worker. Made where it is missing; OSError when that is not possible."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tasks = path / "tasks"
        self._trash = path / "trash"
        self._lock: int | None = None
        self._odd: set[tuple[Path, str]] = set()
        #: what the attempts take on the disk, as counted last
        self.bytes: int | None = None
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        self.tasks.mkdir(mode=0o700, exist_ok=True)

    def lock(self) -> None:
        """Hold the spool until this process ends, however it ends. Raises SpoolBusy while another worker has it."""
        fd = os.open(self.path / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise SpoolBusy(
                f"another worker uses the spool {self.path}; stop it first, "
                "or give this one a spool of its own: set local_dir (QME_LOCAL_DIR) to another folder"
            ) from None
        self._lock = fd

    def unlock(self) -> None:
        """Let go of the spool."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def worker_id(self) -> str:
        """The worker's name for as long as its spool lives: ``<host>-<6 hex>``, a plain subject token."""
        file = self.path / "worker-id"
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            host = re.sub(r"[^a-z0-9_-]+", "-", socket.gethostname().split(".")[0].lower())[:32]
            # Linked into place whole: of two that start together, both read the name of the one that was first.
            draft = self.path / f"worker-id.{secrets.token_hex(4)}"
            draft.touch(mode=0o600)
            draft.write_text(f"{host}-{secrets.token_hex(3)}\n")
            try:
                file.hardlink_to(draft)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
            return file.read_text().strip()

    def attempt(self, uuid: str, attempt: int) -> AttemptDir:
        """Name the folder of an attempt, which need not exist. Raises ValueError for what can't be an attempt."""
        if not is_uuid(uuid) or attempt < 1:
            raise ValueError(f"not an attempt: {uuid}.{attempt}")
        return AttemptDir(self.tasks / f"{uuid}.{attempt}", uuid, attempt)

    def __iter__(self) -> Iterator[AttemptDir]:
        """Give the attempts that have a folder; other things of such a name are passed over."""
        for path in sorted(self.tasks.iterdir()):
            if found := _ATTEMPT.match(path.name):
                try:
                    is_folder = stat.S_ISDIR(path.lstat().st_mode)
                except OSError as error:
                    self.pass_over(path, error)
                    continue
                if is_folder:
                    yield AttemptDir(path, found[1], int(found[2]))
                else:
                    self.pass_over(path, NotADirectoryError("it is not a folder"))

    def pass_over(self, path: Path, error: OSError) -> None:
        """Say, once for each cause, that something in the spool can't be used and is left as it is."""
        cause = error.strerror or str(error)
        if (path, cause) not in self._odd:
            self._odd.add((path, cause))
            log.warning("spool.passed_over: %s: %s", path, cause)

    def measure(self) -> None:
        """Count what the attempts take on the disk. Blocks, and may take long."""
        self.bytes = sum(folder.size() for folder in self)

    def clean(
        self, now: float, keep_seconds: float, ceiling_bytes: int, keep: Collection[tuple[str, int]] = ()
    ) -> int:
        """Make room; the number of attempts removed or emptied. Safe to repeat; blocks, and may take long.

        Attempts older than `keep_seconds` go whole. While the rest is over the ceiling, the oldest ended ones lose
        their output and working folder but not their token: it has to refuse a second start even when the bus has
        forgotten, say after a power cut, that they ever ran. Those in `keep` (uuid, attempt) stay as they are: give
        every attempt whose record is not final yet. What has no exit record is never emptied, and goes by age only
        once nothing of it runs. What can't be read or removed is passed over.
        """
        shutil.rmtree(self._trash, ignore_errors=True)
        candidates: list[tuple[float, int, AttemptDir]] = []
        touched = total = 0
        for folder in self:
            try:
                exit_known = folder.read_exit() is not None
                since = (folder.exit if exit_known else folder.path).stat().st_mtime
                spared = (folder.uuid, folder.attempt) in keep or not (exit_known or self._is_dead(folder))
                if not spared and since < now - keep_seconds:
                    self._remove(folder.path)
                    touched += 1
                    continue
            except OSError as error:
                self.pass_over(folder.path, error)
                continue
            size = folder.size()
            total += size
            if exit_known and not spared:
                candidates.append((since, size, folder))
        for _, size, folder in sorted(candidates, key=lambda candidate: candidate[0]):
            if total <= ceiling_bytes:
                break
            try:
                for path in (folder.stdout, folder.stderr, folder.workdir):
                    self._remove(path)
            except OSError as error:
                self.pass_over(folder.path, error)
            total -= size - folder.size()
            touched += 1
        self.bytes = total
        return touched

    def _is_dead(self, folder: AttemptDir) -> bool:
        token = folder.read_token()
        return token is None or token.identity is None or not is_alive(token.identity)

    def _remove(self, path: Path) -> None:
        """Remove a file or a tree, whatever modes the command left in it; first out of sight in one step."""
        if not os.path.lexists(path):
            return
        self._trash.mkdir(mode=0o700, exist_ok=True)
        gone = self._trash / f"{path.name}.{secrets.token_hex(4)}"
        path.rename(gone)
        if gone.is_dir() and not gone.is_symlink():
            for parent, _, _ in os.walk(gone):
                os.chmod(parent, 0o700)  # noqa: PTH101 -- os.walk gives text
            shutil.rmtree(gone, ignore_errors=True)
        else:
            gone.unlink()
