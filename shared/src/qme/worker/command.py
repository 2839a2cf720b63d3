"""The one command of an attempt: started at most once, waited for, ended. Writes no record."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest
from qme.executor.attempts import AttemptDir, Exit, Token
from qme.executor.base import CommandLost, EndReason
from qme.executor.commands import AlreadyStarted, Expired, Keeper, KeeperError, Lost, Started
from qme.executor.environment import build_environment
from qme.observe.logging import get_logger
from qme.worker.clock import uptime
from qme.worker.memory import MemoryWatch
from qme.worker.verdict import OVER, over

log = get_logger(__name__)

T = TypeVar("T")

#: seconds before the keeper is asked again, doubling up to the longest
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: seconds between two looks at how much a command has written, where that is limited
OUTPUT_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class Memory:
    """How much a command's tree may use, and who looks."""

    limit: int
    watch: MemoryWatch


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be started."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    umask: int
    stdin: Path | None


class Command:
    """The command of one attempt, whoever started it: this worker process or one before it."""

    def __init__(
        self, keeper: Keeper, folder: AttemptDir, lease: float, fresh_until: float, *, fresh: bool
    ) -> None:
        """Name it. `fresh`: it was claimed just now, so nobody can have started it yet."""
        self.folder = folder
        #: how it ended, once that is known
        self.exit: Exit | None = None
        self._keeper = keeper
        self._which = (folder.uuid, folder.attempt)
        self._lease = lease
        #: second of CLOCK_BOOTTIME up to which the record that we read last is believed
        self._fresh_until = fresh_until
        self._starting = asyncio.Lock()
        #: None: only the spool knows; a token may still be taken back by its maker
        self._is_started: bool | None = False if fresh else None
        self._pid: int | None = None

    @property
    def started(self) -> bool:
        """Its start token exists."""
        return self.folder.start.exists() if self._is_started is None else self._is_started

    @property
    def pid(self) -> int | None:
        """Its first process, where that was noted."""
        if self._pid is None:
            token = self.folder.read_token()
            self._pid = token.pid if token else None
        return self._pid

    async def start(self, launch: Launch, record: TaskRecord, allow: Callable[[], Awaitable[None]]) -> bool:
        """Start it, unless it ever was; True if this call did.

        `allow` is asked right before each try: it raises where the command must not start. Waits while the keeper has
        no room or can't be reached.
        """
        uuid, attempt = self._which
        env = build_environment(
            os.environ, launch.env, taskid=record.uid, uuid=uuid, attempt=attempt, cwd=str(launch.cwd)
        )

        async def ask() -> Started | AlreadyStarted | Expired:
            await allow()
            self._is_started = None
            return await self._keeper.start(
                *self._which,
                launch.argv,
                env=env,
                cwd=launch.cwd,
                umask=launch.umask,
                stdin=launch.stdin,
                not_after=self._fresh_until,
            )

        async with self._starting:
            while not self.started:
                answer = await _patiently("start", ask)
                if not isinstance(answer, Expired):
                    self._is_started = True
                    self._pid = answer.pid if isinstance(answer, Started) else None
                    return isinstance(answer, Started)
        return False

    @property
    def stale(self) -> bool:
        """The record was read too long ago to start anything because of it."""
        return uptime() >= self._fresh_until

    def refresh(self, read_at: float) -> None:
        """Take note that the record was read at this second of CLOCK_BOOTTIME and still gives the command to us."""
        self._fresh_until = read_at + self._lease / 2

    async def wait(
        self, timeout: float | None, grace: float, *, memory: Memory | None = None, output: int | None = None
    ) -> Exit:
        """Wait for its end; it is ended after `timeout` seconds of run time, over `memory`, or over `output` bytes.

        Raises CommandLost.
        """
        watches = {
            "timeout": self._limit(timeout, grace) if timeout is not None else None,
            "output": self._limit_output(output, grace) if output is not None else None,
            OVER: self._limit_memory(memory, grace) if memory is not None else None,
        }
        running = {reason: asyncio.create_task(watch) for reason, watch in watches.items() if watch}
        try:
            found = await _patiently("wait", lambda: self._keeper.wait(*self._which))
            if isinstance(found, Lost):
                raise CommandLost(found.reason)
            reason = found.ended_for or ""
            if reason.partition(" ")[0] in running:
                # What it left behind is ended too, also where a process before us had begun that.
                await self.end(reason, grace)
            self.exit = found
            return found
        finally:
            for watch in running.values():
                watch.cancel()

    async def _limit(self, timeout: float, grace: float) -> None:
        token = self.folder.read_token()
        await asyncio.sleep(min(max(timeout - _ran(token), 0.0), timeout) if token else timeout)
        await self.end("timeout", grace)

    async def _limit_output(self, limit: int, grace: float) -> None:
        files = self.folder.stdout, self.folder.stderr
        while sum(size_of(path) for path in files) <= limit:  # noqa: ASYNC110 -- a file rings no bell
            await asyncio.sleep(OUTPUT_LOOK)
        await self.end("output", grace)

    async def _limit_memory(self, memory: Memory, grace: float) -> None:
        token = self.folder.read_token()
        used = await memory.watch.exceeded(
            "{}.{}".format(*self._which), token.identity if token else None, memory.limit
        )
        log.warning("command.over_memory", used=used, limit=memory.limit)
        await self.end(over(used, memory.limit), grace)

    async def end(self, reason: EndReason | str, grace: float) -> None:
        """End its whole tree; returns once nothing is left of it. Nothing where it was never started."""
        async with self._starting:  # a start that is under way comes first, or it would escape
            if not self.started:
                return
        left = await _patiently("end", lambda: self._keeper.end(*self._which, grace, reason))
        if left:
            log.warning(
                "command.left_running", pids=left, problem="processes of another user can't be signalled"
            )

    async def signal(self, number: int) -> int:
        """Send a signal to its whole tree; how many processes got it. Raises InvalidRequest before its start."""
        if not self.started:
            raise InvalidRequest("its command has not been started yet")
        return await _patiently("signal", lambda: self._keeper.signal(*self._which, number))


def size_of(path: Path) -> int:
    """Give a file's bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _ran(token: Token) -> float:
    """Tell for how long a command has run: by the kernel's count since boot, which no change of the clock moves."""
    if token.start_time is not None:
        return uptime() - token.start_time / os.sysconf("SC_CLK_TCK")
    return time.time() - token.started if token.started else 0.0


async def _patiently(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask()
        except KeeperError as error:
            log.warning("command.keeper_waits", asked=what, problem=error.message, seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
