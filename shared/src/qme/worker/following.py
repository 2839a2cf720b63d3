"""Copies files that somebody else writes, a scheduler's job on another host, into an attempt's own output files while
they grow; from there `logs` ships them. Ships nothing itself and decides nothing.

The copy only grows. A file that is written anew, as after a requeue, is copied again from its beginning, behind what
there is: a copy goes on only where the last bytes that it has are still those of the file at that place. So nothing
needs to be remembered but where in the copy the present content of the file begins.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from qme.observe.logging import get_logger

log = get_logger(__name__)

#: bytes read at a time
PIECE = 256 << 10
#: last bytes of the copy that must still stand in the file
KNOWN = 64
#: each look that finds nothing new makes the next pause so much longer
GROWTH = 1.5


class Copy:
    """One file and its copy; at most `limit` bytes are copied."""

    def __init__(self, source: Path, target: Path, limit: int) -> None:
        self._source = source
        self._target = target
        self._limit = limit
        self._base_file = target.with_name(f"{target.name}.base")
        # A cancelled look goes on in its thread; the next one must not copy the same bytes.
        self._lock = threading.Lock()
        self._trouble: str | None = None

    def advance(self) -> bool:
        """Copy what is new; False when nothing is, or it can't be read or written now. Blocks. Safe to repeat."""
        with self._lock:
            try:
                grown = self._advance()
            except FileNotFoundError:
                return False  # the job has not begun to write, or somebody removed the file
            except OSError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    log.warning("follow.wait", path=str(self._source), problem=self._trouble)
                return False
            self._trouble = None
            return grown

    def _advance(self) -> bool:
        # Opened anew each time: only that makes a network file system look for what another host wrote.
        fd = _opened(self._source)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return False
            with self._target.open("a+b", buffering=0) as target:
                self._target.chmod(0o600)
                return self._copy(fd, target.fileno())
        finally:
            os.close(fd)

    def _copy(self, source: int, target: int) -> bool:
        begun = size = os.fstat(target).st_size
        base = self._base()
        while size < self._limit:
            at = size - base
            known = min(at, KNOWN)
            data = os.pread(source, PIECE, at - known)
            if data[:known] != os.pread(target, known, size - known):
                base = size
                self._note(base)
                continue
            fresh = data[known:][: self._limit - size]
            if not fresh:
                break
            size += os.write(target, fresh)
        return size > begun

    def _base(self) -> int:
        try:
            return int(self._base_file.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _note(self, base: int) -> None:
        draft = self._base_file.with_suffix(".new")
        draft.write_text(str(base))
        draft.rename(self._base_file)


def _opened(path: Path) -> int:
    # Not blocking: a job's output may go into a named pipe, which is not ours to read.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        # A network file system remembers for a minute that there was none, until its folder is looked into.
        with os.scandir(path.parent) as entries:
            next(entries, None)
        return os.open(path, flags)


@asynccontextmanager
async def following(copies: Sequence[Copy], first: float, longest: float) -> AsyncIterator[None]:
    """Copy while the context lasts, looking every `first` to `longest` seconds, and once more at its end."""
    looking = asyncio.create_task(_look(copies, first, longest))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    await asyncio.to_thread(_advance, copies)


async def _look(copies: Sequence[Copy], first: float, longest: float) -> None:
    pause = first
    while True:
        grown = await asyncio.to_thread(_advance, copies)
        pause = first if grown else min(pause * GROWTH, longest)
        await asyncio.sleep(pause)


def _advance(copies: Sequence[Copy]) -> bool:
    return sum(copy.advance() for copy in copies) > 0
