"""The connection to the keeper of a spool: finds or starts it, asks, and mirrors which commands it has.

Everything the keeper says is applied in the order it was said, in one place, so that the mirror is exact. What to
make of it is for `commands`; the protocol is in `keeper/service.py`.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from qme.errors import QmeError
from qme.executor.attempts import Exit
from qme.executor.processes import Identity, boot_id, identity_of, is_alive, spawn_detached

#: the standard library's, as everywhere in the SDK
log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).parent / "keeper"
#: seconds within which a keeper has to start, and to answer its first question
_PATIENCE = 15.0
#: seconds between two tries to reach one
_PAUSE = 0.005
#: seconds between two tries to reach one that lives but whose socket was removed, and between two log lines on it
_HIDDEN_PAUSE, _HIDDEN_LOG = 1.0, 60.0
#: bytes of the longest line from a keeper: a list of some hundred thousand commands
_LINE = 64 << 20
#: a Python from an environment module may not start without it; all else of our environment is none of the keeper's
_ENVIRONMENT = ("LD_LIBRARY_PATH",)


class KeeperError(QmeError):
    """The keeper of the commands can't be reached; see keeper.log in the worker's spool."""

    code = "keeper"
    retryable = True


class KeeperLink:
    """One connection at a time to the keeper of one spool."""

    def __init__(self, spool: Path, idle_seconds: float, sync: bool) -> None:
        #: task (``<uuid>.<attempt>``) -> first process, of all commands that run under this keeper
        self.running: dict[str, Identity] = {}
        #: exits that the keeper has no room on disk for
        self.unsaved: dict[str, Exit] = {}
        self._spool = spool
        self._argv = [sys.executable, "-I", "-S", "-E", "-X", "utf8", str(_PROGRAM), str(spool)]
        self._argv += [str(idle_seconds), str(int(sync))]
        self._lock = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ends: dict[str, asyncio.Future[Exit | None]] = {}
        self._boot_id = boot_id()

    @property
    def connected(self) -> bool:
        """True while a keeper is at the other end, as far as we know."""
        return self._writer is not None

    async def connect(self) -> None:
        """Attach to the keeper, starting one where none lives; then the mirror is exact. Raises KeeperError."""
        async with self._lock:
            error: Exception | None = None
            for _ in range(3):  # a keeper that was just leaving hangs up on us: the next one stays
                if self._writer is not None:
                    return
                reader, self._writer = await self._open()
                self._reading = asyncio.create_task(self._read(reader))
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await self._ask({"do": "list"})
                except (TimeoutError, ConnectionError) as failure:
                    error = failure
                    await self._hang_up()
                    await asyncio.sleep(_PAUSE)
                except BaseException:
                    await self._hang_up()
                    raise
            if self._writer is None:
                raise KeeperError(
                    f"no answer from the keeper of {self._spool}; see keeper.log there"
                ) from error

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask, connecting first where needed; asked again of the next keeper when this one dies over it.

        Raises KeeperError: refused, nothing was done; or no keeper lives long enough to answer.
        """
        for _ in range(3):
            await self.connect()
            connection = self._writer
            try:
                answer = await self._ask({"do": do, **fields})
            except ConnectionError:
                await self._drop(connection)
                continue
            if "error" in answer:
                raise KeeperError(f"the keeper refused: {answer['error']}")
            return answer
        raise KeeperError(f"the keeper of {self._spool} keeps dying; see keeper.log there")

    async def end_of(self, task: str) -> Exit | None:
        """Wait for the end of a command that is in `running`; None: the keeper died first."""
        end = self._ends.setdefault(task, asyncio.get_running_loop().create_future())
        return await asyncio.shield(end)  # shared by all who wait for it

    async def close(self) -> None:
        """Hang up; the keeper and its commands go on."""
        await self._drop(self._writer)

    # --- the wire -----------------------------------------------------------------------------------------------

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + _PATIENCE, _PAUSE
        say_at = loop.time() + 2 * _HIDDEN_PAUSE
        starting: Identity | None = None
        while True:
            with suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                return await asyncio.open_unix_connection(sock=self._dial(), limit=_LINE)
            if (starting is None or not is_alive(starting)) and self._is_kept():
                # Its commands are its own: only it can say how they end, so there is nothing to do but wait for it.
                if loop.time() >= say_at:
                    log.warning(
                        "keeper.hidden: the keeper of %s lives, but its socket is gone; waiting until it makes it anew",
                        self._spool,
                    )
                    say_at = loop.time() + _HIDDEN_LOG
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _HIDDEN_PAUSE)
                give_up = loop.time() + _PATIENCE
                continue
            if loop.time() > give_up:
                raise KeeperError(f"no keeper can be started for {self._spool}; see keeper.log there")
            # One that is leaving holds its lock a moment longer than its socket, and sends ours away: start another.
            if starting is None or not is_alive(starting):
                environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
                try:
                    pid = spawn_detached(self._argv, self._spool / "keeper.log", environment)
                except OSError as error:
                    raise KeeperError(f"the keeper can't be started: {error}") from error
                starting = identity_of(pid)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    def _is_kept(self) -> bool:
        """Tell whether some keeper holds the spool's lock; one that starts at this very moment may have to again."""
        try:
            fd = os.open(self._spool / "keeper.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _dial(self) -> socket.socket:
        # Through a descriptor, since a spool's own path may be longer than a socket's address can be.
        folder = os.open(self._spool, os.O_RDONLY | os.O_DIRECTORY)
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(f"/proc/self/fd/{folder}/keeper.sock")
        except OSError:
            sock.close()
            raise
        finally:
            os.close(folder)
        return sock

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        writer, number = self._writer, next(self._numbers)
        if writer is None:
            raise ConnectionResetError("the keeper is gone")
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        try:
            writer.write(json.dumps({"id": number, **question}).encode() + b"\n")
            await writer.drain()
            result: dict[str, Any] = await answer
            return result
        finally:
            self._answers.pop(number, None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                self._apply(json.loads(line))
        except OSError:
            pass
        finally:
            self._forget()

    def _apply(self, message: dict[str, Any]) -> None:
        if "running" in message:
            self.running = {task: self._identity(pid, at) for task, (pid, at) in message["running"].items()}
            self.unsaved = {task: Exit.from_record(record) for task, record in message["unsaved"].items()}
        elif message.get("result") == "started" and message["pid"]:
            self.running[message["task"]] = self._identity(message["pid"], message["start_time"])
        elif message.get("event") == "exit":
            task = message["task"]
            self.running.pop(task, None)
            if not message["saved"]:
                self.unsaved[task] = Exit.from_record(message["exit"])
            if end := self._ends.pop(task, None):
                end.set_result(Exit.from_record(message["exit"]))
        answer = self._answers.get(message.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _identity(self, pid: int, start_time: int) -> Identity:
        return Identity(pid, start_time, self._boot_id)

    def _forget(self) -> None:
        """Nothing that this connection told holds any longer: everyone who waits looks again."""
        if self._writer is not None:
            self._writer.close()
        self._writer = self._reading = None
        self.running.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the keeper is gone"))
        for end in self._ends.values():
            end.set_result(None)
        self._ends.clear()

    async def _drop(self, connection: asyncio.StreamWriter | None) -> None:
        """Give a broken connection up, unless somebody has replaced it already."""
        async with self._lock:
            if self._writer is connection:
                await self._hang_up()

    async def _hang_up(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        self._forget()
