"""Starts processes that are not commands of tasks: short helpers and services. Also: who a process is, does it live.

Together with `keeper/launch.py`, which starts the commands, this is the only place of qme that starts processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qme.executor.keeper import proc
from qme.executor.keeper.ending import send

#: seconds that output may still arrive after a helper ended, from what it left behind holding its pipes
_LEFTOVERS = 0.5
#: seconds that a killed helper may take to go
_DYING = 2.0
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class Captured:
    """What came of a helper command."""

    #: exit code, or a signal's negative number
    returncode: int
    stdout: bytes
    stderr: bytes
    #: it did not end within its time and was killed
    timed_out: bool = False
    #: there was more output than the limit; the rest was read and dropped
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, named so that a later one with the same pid can't be taken for it."""

    pid: int
    #: clock ticks since boot
    start_time: int
    boot_id: str


@cache
def boot_id() -> str:
    """Give the id of this boot of the machine."""
    return proc.boot_id()


def identity_of(pid: int) -> Identity | None:
    """Name a living process; None when there is none."""
    row = proc.process(pid)
    return Identity(pid, row.start_time, boot_id()) if row and row.alive else None


def is_alive(identity: Identity) -> bool:
    """Tell whether exactly this process still runs; a zombie doesn't."""
    return identity_of(identity.pid) == identity


async def terminate(identity: Identity, grace: float) -> bool:
    """End this one process: TERM, KILL after `grace` seconds. False: it may not be signalled. Safe to repeat."""
    loop = asyncio.get_running_loop()
    kill_at = loop.time() + grace
    number: signal.Signals | None = signal.SIGTERM
    pause = 0.005
    while (row := proc.process(identity.pid)) and is_alive(identity):
        if number is not None and not send(row, number):
            return False
        # TERM once: a second one means "at once" to a worker, and would catch others in the middle of their ending.
        number = signal.SIGKILL if loop.time() >= kill_at else None
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.1)
    _reap()
    return True


def spawn_detached(
    argv: Sequence[str], log_path: Path, env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> int:
    """Start a service that outlives us: own session, no stdin, output appended to `log_path` (0600); gives its pid.

    `env` is all of its environment: leave out QME_TASK_ID, or the service would end with the task that carries it.
    Raises OSError when it can't be started. Not safe to repeat: each call starts another one.
    """
    _reap()
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    finally:
        os.close(log)
    _children.append(child)  # held so that it can be reaped, should it end before us
    return child.pid


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


class _Collector(asyncio.SubprocessProtocol):
    """Gathers the output of one helper up to a limit, and tells when it has ended."""

    def __init__(self, limit: int) -> None:
        self.output: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.truncated = False
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self._limit = limit
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = self._limit - len(self.output[fd])
        self.output[fd] += data[:room]
        self.truncated = self.truncated or len(data) > room

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()


async def capture(
    argv: Sequence[str],
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    limit_bytes: int = 8 << 20,
) -> Captured:
    """Run a short helper command to its end and give its output, at most `limit_bytes` of each stream.

    It gets a session of its own; on timeout (seconds) or cancellation all of it is killed. A timeout is reported, not
    raised. Raises OSError when the program can't be started. As safe to repeat as the command itself.
    """
    loop = asyncio.get_running_loop()
    transport, collector = await loop.subprocess_exec(
        lambda: _Collector(limit_bytes),
        *argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    pid = transport.get_pid()
    timed_out = False
    try:
        writer = transport.get_pipe_transport(0)
        if stdin is not None and isinstance(writer, asyncio.WriteTransport):
            writer.write(stdin)
            writer.write_eof()
        try:
            async with asyncio.timeout(timeout):
                await collector.exited.wait()
        except TimeoutError:
            timed_out = True
            await _kill_group(pid, collector)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEFTOVERS):
                await collector.drained.wait()
    finally:
        if not collector.exited.is_set():
            await _kill_group(pid, collector)
        transport.close()
    out, err = (bytes(collector.output[fd]) for fd in (1, 2))
    returncode = transport.get_returncode()
    if (
        returncode is None
    ):  # killed, but stuck in the kernel, say on a dead file server: nobody should wait for that
        returncode = -signal.SIGKILL
    return Captured(returncode, out, err, timed_out, collector.truncated)


async def _kill_group(pid: int, collector: _Collector) -> None:
    # The leader is not reaped yet, or the event loop would have told: the group can't be another's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_DYING):
            await collector.exited.wait()
