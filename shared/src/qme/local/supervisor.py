"""The background process of a local stack: keeps the server and the services alive until it is told to stop.

    python -m qme.local.supervisor LOCAL_DIR

Started by `starting` with a plan in the folder; tells what it sees in the state file. It takes over what an earlier
supervisor left running. A signal TERM stops everything in order; when it is killed, everything else lives on. It knows
nothing of tasks: what runs on the bus is asked for by a short program of its own (`probe`), so this stays small.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from qme.errors import LocalStackError
from qme.executor.processes import identity_of
from qme.local import idle
from qme.local.layout import Layout, State, explained, locked, read_state, write_state
from qme.local.plan import Plan
from qme.local.server import Server
from qme.local.services import Service, bound, living

#: seconds between two looks at the services: while something is starting, and when all is quiet
_BUSY, _QUIET = 0.02, 0.5
#: seconds after a change for which the looks are frequent
_ALERT = 5.0
#: seconds between two looks at logs and idleness; other hosts take the state file's time as a sign of life
_ROUND = 60.0
#: seconds in which a command that only asks for the lock lets go of it
_LOCK_PATIENCE = 5.0


class Supervisor:
    """The loop and what it knows."""

    def __init__(self, layout: Layout, plan: Plan) -> None:
        self.stop = asyncio.Event()
        self._layout = layout
        self._plan = plan
        self._server = Server(plan, layout)
        self._services = [Service(one.name, one.argv, layout) for one in plan.services]
        self._self = identity_of(os.getpid())
        self._place = layout.supervisor_lock.stat()
        self._started = time.time()
        self._written: State | None = None
        self._tried: State | None = None
        self._alert_until = 0.0

    async def run(self) -> None:
        """Keep everything alive until `stop` is set or nobody needs it; then stop everything."""
        await self._server.check()
        await self._adopt()
        rounds = asyncio.create_task(self._rounds())
        try:
            while not self.stop.is_set() and not self._is_evicted():
                await self._look()
                self._save()
                quiet = time.monotonic() > self._alert_until
                await self._pause(_QUIET if quiet else _BUSY)
        finally:
            rounds.cancel()
        self._save()
        for service in reversed([self._server, *self._services]):
            await service.stop()
        self._save()

    def _is_evicted(self) -> bool:
        """Tell whether the folder was removed: nobody can find this stack any more, and another may be in its place."""
        try:
            return not os.path.samestat(self._place, self._layout.supervisor_lock.stat())
        except FileNotFoundError:
            return True
        except OSError:  # a file server that does not answer right now
            return False

    async def _adopt(self) -> None:
        before = {one.name: one for one in state.services} if (state := read_state(self._layout)) else {}
        for service in (self._server, *self._services):
            service.adopt(before.pop(service.name, None))
        for left in before.values():  # a service that is not in the plan any more
            stranger = Service(left.name, (), self._layout)
            stranger.identity = living(left)
            await stranger.stop()
        if self._server.identity and not self._server.port:  # nobody can tell where it listens
            await self._server.stop()
        if self._server.identity is None:
            os.close(await self._server.free_store())

    async def _look(self) -> None:
        """Start what is not there; the services only once the server serves, or they would end at once."""
        now = time.monotonic()
        if self._server.look() and self._server.is_stuck():
            await self._server.stop()
        if not self._server.look() and now >= self._server.due:
            try:
                await self._server.launch(os.environ)
            except (LocalStackError, OSError) as error:
                self._server.fail(str(error))
        if not self._server.serves():
            return
        for service in self._services:
            if service.look() and service.url != self._server.address:
                await service.stop()  # it would ask at the old address for ever
            if service.identity is None and now >= service.due:
                service.start(self._environment())

    def _environment(self) -> dict[str, str]:
        creds = os.fspath(self._layout.creds)
        return {**os.environ, "QME_NATS_URL": self._server.address, "QME_NATS_CREDS": creds}

    def _save(self) -> None:
        """Write the state where it has changed; a full disk must not end the stack, so then the next look tries."""
        if self._is_evicted():
            return
        assert self._self is not None  # noqa: S101 -- we live
        services = tuple(service.state for service in (self._server, *self._services))
        # The address is told once the server listens there, and stays: clients come back to it by themselves.
        url = self._server.address if self._server.serves() or (self._written and self._written.url) else ""
        who = self._self
        stopping = self.stop.is_set()
        state = State(who.pid, who.start_time, who.boot_id, self._started, url, stopping, services)
        is_news = state != self._tried
        if is_news:
            self._alert_until = time.monotonic() + _ALERT
        self._tried = state
        if state != self._written:
            try:
                write_state(self._layout, state)
            except OSError as error:
                if is_news:
                    _log(f"can't write {self._layout.state}: {error.strerror}")
            else:
                self._written = state

    async def _rounds(self) -> None:
        watch = idle.Watch(self._plan, self._layout)
        while True:
            await asyncio.sleep(min(_ROUND, self._plan.idle_stop / 4 or _ROUND))
            for service in (self._server, *self._services):
                bound(service.log)
            pids = [service.identity.pid for service in self._services if service.identity]
            if await watch.is_over(self._server.port, pids, self._environment()):
                await self._leave(watch)
            with suppress(OSError):
                os.utime(self._layout.state)

    async def _leave(self, watch: idle.Watch) -> None:
        """Stop, unless a command has come: it marks its coming first and looks at the state after that."""
        try:
            async with locked(self._layout.start_lock, 0.0):
                self.stop.set()
                self._save()
                if watch.was_used():
                    self.stop.clear()
                    self._save()
                else:
                    _log("nobody has used the stack for long; stopping")
        except LocalStackError:  # a command is starting or stopping the stack right now
            return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return


async def supervise(layout: Layout) -> None:
    """Run the stack in the folder as its only supervisor. Raises LocalStackError."""
    async with locked(layout.supervisor_lock, _LOCK_PATIENCE):
        with explained(layout.plan):
            plan = Plan.loads(layout.plan.read_text(encoding="utf-8"))
        supervisor = Supervisor(layout, plan)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop.set)
        await supervisor.run()


def main(argv: Sequence[str]) -> int:
    """Run the stack in the folder that is named."""
    layout = Layout(Path(argv[0]))
    # Not the folder of the first command: it would stay in use, and be the services' too.
    os.chdir(layout.root)
    os.umask(0o077)
    try:
        asyncio.run(supervise(layout))
    except LocalStackError as error:
        _log(error.message)
        return 1
    return 0


def _log(text: str) -> None:
    with suppress(OSError):  # the log's disk is full: no reason to end
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
