"""Brings the output of running commands from the spool's files to the bus. Knows no records and no executors.

One timer looks at all files; what has grown is shipped in chunks, one at a time for each stream of each attempt, so
that a stream is stored in order and without holes: a worker that comes back goes on after the last stored chunk. All
streams together have a bounded window, and take turns at it. Nothing here can lose output: until the bus has confirmed
a chunk it is read again from the spool.

A command can empty the file behind its own output, as `> /dev/stdout` does. So what was shipped last must still stand
in the file where it stood; else all that the file holds now is shipped behind it, and the attempt's record says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress

from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.output import STDERR, STDOUT, STREAMS
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import HEADER_OFFSET
from qme.errors import NotPermitted, QmeError
from qme.executor.attempts import AttemptDir
from qme.observe.logging import get_logger
from qme.observe.metrics import WorkerMetrics
from qme.settings import Settings

log = get_logger(__name__)

#: bytes on their way to the bus, all tasks together
WINDOW = 4 << 20
#: the first look after something new and the slowest, as parts of the setting `log_interval`
FIRST_LOOK, LAST_LOOK, GROWTH = 0.2, 1.5, 1.5
#: seconds before a chunk that the bus did not take is sent again, doubling up to the longest
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
#: last bytes of what was shipped that must still stand in the file
KNOWN = 64
#: header of a chunk: offset in the stream at which the present content of the file begins, where that is not 0
HEADER_BASE = "Qme-Base"


class LogShipper:
    """All output of one worker. `run` it beside everything else."""

    def __init__(self, bus: Bus, settings: Settings, metrics: WorkerMetrics) -> None:
        self.bus = bus
        self.metrics = metrics
        self.chunk = settings.log_chunk
        self.limit = settings.log_limit
        self.window = asyncio.Semaphore(max(1, WINDOW // settings.log_chunk))
        self._interval = settings.log_interval
        self._outputs: set[Output] = set()
        self._wake = asyncio.Event()

    def watch(self, key: TaskKey, folder: AttemptDir, *, fresh: bool) -> Output:
        """Begin to ship an attempt's output; unless it is `fresh`, after what the bus has of it already."""
        output = Output(self, key, folder, fresh)
        self._outputs.add(output)
        self._wake.set()
        return output

    def forget(self, output: Output) -> None:
        """Look at it no more."""
        self._outputs.discard(output)

    async def run(self) -> None:
        """Look at all files for ever."""
        pause = 0.0
        while True:
            self._wake.clear()
            grown = [tail.look() for output in tuple(self._outputs) for tail in output.tails.values()]
            pause = FIRST_LOOK if any(grown) else min(max(pause, FIRST_LOOK) * GROWTH, LAST_LOOK)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause * self._interval if self._outputs else None):
                    await self._wake.wait()
                    pause = 0.0


class Output:
    """The output of one attempt."""

    def __init__(self, shipper: LogShipper, key: TaskKey, folder: AttemptDir, fresh: bool) -> None:
        self._shipper = shipper
        paths = {STDOUT: folder.stdout, STDERR: folder.stderr}
        self.tails = {
            stream: _Tail(shipper, (key, folder.attempt, stream), os.fspath(paths[stream]), fresh)
            for stream in STREAMS
        }

    async def finish(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Ship what is there by now and have it confirmed; give the bytes written and those on the bus, by stream.

        Waits for as long as the bus is away. What a process left behind by the command writes later is not waited for.
        """
        offsets = await asyncio.gather(*(tail.finish() for tail in self.tails.values()))
        ends = dict(zip(self.tails, offsets, strict=True))
        self.stop()
        return ends, {stream: min(tail.sent, ends[stream]) for stream, tail in self.tails.items()}

    @property
    def replaced(self) -> list[str]:
        """The streams of which the command emptied or rewrote what had been shipped."""
        return [stream for stream, tail in self.tails.items() if tail.replaced]

    def stop(self) -> None:
        """Ship no more."""
        self._shipper.forget(self)
        for tail in self.tails.values():
            tail.stop()


class _Tail:
    """One stream of one attempt."""

    def __init__(
        self, shipper: LogShipper, address: tuple[TaskKey, int, str], path: str, is_resumed: bool
    ) -> None:
        #: bytes on the bus
        self.sent = 0
        self._shipper = shipper
        key, attempt, stream = address
        self._subject = subjects.log_subject(key, attempt, stream)
        self._address = (key.uuid, attempt, stream)
        self._path = path
        #: offset in the stream at which the file begins: above 0 once a command has truncated its own output
        self._base = 0
        #: what stands in the file right before what is to be shipped next
        self._known = b""
        #: size and time of the file when it was last seen to hold nothing new
        self._seen = (0, 0)
        #: `sent` is known to be what the bus has
        self._is_resumed = is_resumed
        self._refused = False
        self._pump: asyncio.Task[None] | None = None

    def look(self) -> bool:
        """Begin to ship what is new; False when nothing is."""
        return self._begin(self._end())

    @property
    def replaced(self) -> bool:
        """The command emptied or rewrote its output after some of it had been shipped."""
        return self._base > 0

    async def finish(self) -> int:
        """Ship everything that is there by now, or what can be read of it; offset of its end."""
        if self._pump is not None:
            await asyncio.wait({self._pump})
        end, base = self._end(surely=True), self._base
        await self._ship_to(end)
        if self._base != base:  # seen only now: all that the file holds comes behind what was shipped
            end = self._end()
            await self._ship_to(end)
        return end

    def _end(self, *, surely: bool = False) -> int:
        """Offset of the end of what was written so far; `surely`: also where the file looks as it did before."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 -- called some dozen times a second for each task
        except OSError:  # not made yet, or cleaned away
            return self.sent
        seen = (status.st_size, status.st_mtime_ns)
        # While a chunk is on its way it is the pump that compares: only it knows where it reads on.
        is_idle = self._is_resumed and (self._pump is None or self._pump.done())
        if is_idle and self._base + status.st_size <= self.sent and (surely or seen != self._seen):
            self._seen = seen
            self._read(0)
        return self._base + status.st_size

    async def _ship_to(self, end: int) -> None:
        while self._begin(end) and self._pump is not None:
            before = self.sent
            await asyncio.wait({self._pump})
            if self.sent == before:
                return

    def stop(self) -> None:
        """Drop what is on its way; it is in the spool."""
        if self._pump is not None:
            self._pump.cancel()

    def _begin(self, end: int) -> bool:
        if self._pump is not None and not self._pump.done():
            return True
        if self._refused or not self.sent < min(end, self._shipper.limit):
            return False
        self._pump = asyncio.create_task(self._ship())
        return True

    async def _ship(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if not self._is_resumed:
                    await self._resume()
                while await self._send():
                    pause = FIRST_PAUSE
                return
            except NotPermitted as error:
                self._refused = True
                log.warning("logs.refused", subject=self._subject, problem=error.message)
                return
            except QmeError as error:
                log.warning("logs.wait", subject=self._subject, problem=error.message, seconds=pause)
            # Nobody knows whether the chunk was stored, and after a long outage its id may be forgotten: look.
            self._is_resumed = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _resume(self) -> None:
        """Go on after the last stored chunk, wherever it came from."""
        last = await self._shipper.bus.last(subjects.LOGS, self._subject, leader=True)
        if last is not None:
            end = int(last.headers.get(HEADER_OFFSET, "0")) + len(last.data)
            if end > self.sent:
                self.sent = end
                self._base = max(self._base, int(last.headers.get(HEADER_BASE, "0")))
                self._known = last.data[-KNOWN:]
        self._is_resumed = True

    async def _send(self) -> bool:
        async with self._shipper.window:
            data = self._read(min(self._shipper.chunk, self._shipper.limit - self.sent))
            if not data:
                return False
            ack = await self._shipper.bus.append(
                self._subject,
                data,
                message_id=subjects.chunk_id(*self._address, self.sent),
                headers=self._headers(),
            )
            if ack.duplicate:  # stored by an earlier try, which may have been shorter
                await self._resume()
                return True
            self.sent += len(data)
            self._known = (self._known + data)[-KNOWN:]
            self._shipper.metrics.log_bytes.inc(len(data))
            return True

    def _headers(self) -> dict[str, str]:
        headers = {HEADER_OFFSET: str(self.sent)}
        if self._base:
            headers[HEADER_BASE] = str(self._base)
        return headers

    def _read(self, length: int) -> bytes:
        """Read on behind what was shipped, or from the beginning of a file that does not hold that any more."""
        length = max(length, 0)
        known = self._known
        try:
            # Not blocking: a command may have put a named pipe in its place.
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            data = os.pread(fd, len(known) + length, self.sent - self._base - len(known))
            if data.startswith(known):
                return data[len(known) :]
            log.warning("logs.replaced", path=self._path, shipped=self.sent)
            self._base, self._known = self.sent, b""
            return os.pread(fd, length, 0)
        except OSError as error:
            log.warning("logs.unreadable", path=self._path, problem=str(error))
            return b""
        finally:
            os.close(fd)
