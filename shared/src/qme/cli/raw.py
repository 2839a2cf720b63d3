"""Writes a task's output to our own stdout and stderr as the bytes they are, without ever stalling the connection."""

from __future__ import annotations

import asyncio
import os
import select
import sys

from qme.cli.context import say
from qme.client.pieces import Chunk, Gap
from qme.contracts.output import STDERR, STDOUT, written
from qme.contracts.tasks import TaskRecord

#: bytes that a pipe which is ready to be written to takes without blocking
_ATOMIC = select.PIPE_BUF


class Sink:
    """Where the pieces of an output go. `merged` sends both streams to stdout."""

    def __init__(self, *, merged: bool = False) -> None:
        self._stdout = sys.stdout.fileno()
        self._stderr = self._stdout if merged else sys.stderr.fileno()

    async def take(self, piece: Chunk | Gap, record: TaskRecord | None) -> None:
        """Write a chunk; say what is missing where there is a gap. Raises BrokenPipeError."""
        if isinstance(piece, Gap):
            say(_missing(piece, record))
            return
        fd = self._stdout if piece.stream == STDOUT else self._stderr
        if len(piece.data) <= _ATOMIC and select.select((), (fd,), (), 0)[1]:
            os.write(fd, piece.data)
        else:  # it may block for as long as whoever reads it likes: not in the loop, which has to answer the bus
            await asyncio.to_thread(_write_all, fd, piece.data)


def say_if_only_stderr(record: TaskRecord) -> None:
    """Say where its output is, of a task that has ended and written nothing to stdout: silence looks like none."""
    if record.ended and not written(record.data, STDOUT) and written(record.data, STDERR):
        say(f"its stdout is empty, its stderr is not: `qme logs --stderr {record.uid}` shows it")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # whoever started us shares a non-blocking pipe
            select.select((), (fd,), ())


def _missing(gap: Gap, record: TaskRecord | None) -> str:
    what = f"{gap.size} bytes of {gap.stream} from byte {gap.offset} on"
    if gap.why == "gone":
        return f"{what} are not on the bus any more"
    where = f"the worker {record.worker}" if record is not None and record.worker else "the worker"
    action = "output" if gap.stream == STDOUT else "error"
    return f"{what} are in the spool of {where} only (log_limit): `qme exec ID {action} offset={gap.offset}`"
