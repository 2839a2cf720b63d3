"""`up`, `down` and `status` as functions. They ask and tell; what is kept alive, and how, is the supervisor's."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qme.errors import BusUnavailable, NotFound, QmeError
from qme.executor.processes import Identity, terminate
from qme.local import ports, starting
from qme.local.layout import Layout, ServiceState, State, free, is_held, locked, read_state
from qme.local.services import living
from qme.local.stack import Endpoint, Say, alive, allowed, to_stderr
from qme.settings import Settings

#: seconds from TERM to KILL for a supervisor, which gives each of its services ten
_GRACE = 90.0
_LOCK_PATIENCE = 120.0
#: seconds between two looks at the state file
_PAUSE = 0.5
#: seconds that tasks get to end, on top of the setting `term_grace`
_CANCEL_PATIENCE = 30.0


class AlreadyRunning(QmeError):
    """The local stack is running already; `qme status` shows it."""

    code: ClassVar[str] = "already_running"


class StackBusy(QmeError):
    """Tasks are running; `qme down --leave` lets them run on, `qme down --cancel` ends them."""

    code: ClassVar[str] = "busy"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: `pid` and `uptime` (seconds) are None while it does not run, `error` says why it last ended."""

    name: str
    pid: int | None
    uptime: float | None
    restarts: int
    error: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The stack of this host. `running`: its supervisor lives; `serving`: commands can use it now."""

    folder: Path
    running: bool
    serving: bool
    pid: int | None
    uptime: float | None  #: seconds
    url: str
    services: tuple[ServiceStatus, ...]
    disk_used: int  #: bytes in the folder
    disk_free: int | None  #: bytes left on its disk


def status(settings: Settings) -> StackStatus:
    """Look at the stack without starting or touching anything. Raises nothing; safe to repeat."""
    layout = Layout(settings.local_dir)
    state = read_state(layout)
    running = _is_supervised(layout)
    services = tuple(_service_status(one) for one in state.services) if state else ()
    url = state.url if state else ""
    return StackStatus(
        folder=layout.root,
        running=running,
        serving=bool(running and state and layout.ready.exists() and ports.is_ours(state.port)),
        pid=state.pid if running and state else None,
        uptime=time.time() - state.started if running and state else None,
        url=url,
        services=services,
        disk_used=_size(layout.root),
        disk_free=_free(layout),
    )


async def up(
    settings: Settings,
    *,
    detach: bool = False,
    say: Say = to_stderr,
    recipe: starting.Recipe = starting.STANDARD,
) -> None:
    """Start the stack. With `detach` return once it serves; else tell of every change until Ctrl-C, which stops it.

    A stack that runs already is fine with `detach`. Raises AlreadyRunning without it, BusUnavailable, LocalStackError.
    """
    allowed(settings)
    layout = Layout(settings.local_dir)
    state = read_state(layout)
    if state and alive(layout):
        sentence = f"the local stack is running already, pid {state.pid}; `qme status` shows it"
        if not detach:
            raise AlreadyRunning(sentence)
        say(sentence)
        return
    await starting.start(settings, say=say, recipe=recipe)
    if not detach:
        with _told_to_end() as end:
            await _watch(layout, say, end)
        # What runs now runs on, as after a crash: nobody is there to be asked.
        await down(settings, leave=True, say=say)


async def down(
    settings: Settings, *, leave: bool = False, cancel: bool = False, say: Say = to_stderr
) -> bool:
    """Stop the stack; give False when there was none. State survives, and so do tasks that wait.

    Refuses while tasks run, unless they are to be left running under their keeper (`leave`), or to be ended together
    with those that wait (`cancel`). Raises StackBusy, LocalStackError. Safe to repeat.
    """
    layout = Layout(settings.local_dir)
    if not layout.root.exists():
        return False
    async with locked(layout.start_lock, _LOCK_PATIENCE):
        state = read_state(layout)
        if not _is_supervised(layout) and not (state and any(map(living, state.services))):
            return False
        if not leave:
            await _clear_tasks(settings, layout, state, cancel)
        await _stop(layout)
    say(f"stopped the local stack in {layout.root}; `qme up`, or any command, starts it again")
    return True


async def _clear_tasks(settings: Settings, layout: Layout, state: State | None, cancel: bool) -> None:
    from qme.local import tasks

    if state and not any(layout.store.glob("*")):  # its server never ran, so there are no tasks
        return
    if not state or not ports.is_ours(state.port):
        raise StackBusy(
            "can't tell whether tasks run, since the bus is down; `qme down --leave` stops the rest"
        )
    endpoint = Endpoint(state.url, layout.creds)
    try:
        if cancel:
            left = await tasks.cancel_all(settings, endpoint, settings.term_grace + _CANCEL_PATIENCE)
            if left:
                raise StackBusy(f"{left} tasks have not ended yet; `qme down --leave` lets them run on")
        elif running := (await tasks.tally(settings, endpoint)).running:
            raise StackBusy(
                f"{running} task{'s run' if running > 1 else ' runs'}; `qme down --leave` lets "
                f"{'them' if running > 1 else 'it'} run on, `qme down --cancel` ends all tasks"
            )
    except NotFound:  # streams were never made, so there are no tasks
        return
    except BusUnavailable as error:
        raise StackBusy(
            f"can't tell whether tasks run: {error.message} `qme down --leave` stops the stack anyway"
        ) from error


async def _stop(layout: Layout) -> None:
    """Let the supervisor stop everything; do it ourselves where there is none, or it did not."""
    state = read_state(layout)
    supervisor = Identity(state.pid, state.start_time, state.boot_id) if state else None
    if supervisor and _is_supervised(layout):
        await terminate(supervisor, _GRACE)
    state = read_state(layout)
    for service in reversed(state.services if state else ()):
        if identity := living(service):
            await terminate(identity, 10.0)


async def _watch(layout: Layout, say: Say, end: asyncio.Event) -> None:
    """Say a line for each service and for each change, until told to end or the stack is gone."""
    seen: dict[str, ServiceState] = {}
    while not end.is_set():
        state = read_state(layout)
        for service in state.services if state else ():
            before = seen.get(service.name)
            if before is None or before.pid != service.pid:
                if service.pid:
                    say(f"{service.name} runs, pid {service.pid}")
                else:
                    say(f"{service.name} {service.error}")
            seen[service.name] = service
        if not _is_supervised(layout):
            say("the stack has ended")
            return
        try:
            async with asyncio.timeout(_PAUSE):
                await end.wait()
        except TimeoutError:
            continue


@contextmanager
def _told_to_end() -> Iterator[asyncio.Event]:
    """Give an event that Ctrl-C, a closed terminal and TERM set."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, end.set)
    try:
        yield end
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _is_supervised(layout: Layout) -> bool:
    try:
        return is_held(layout.supervisor_lock)
    except OSError:
        return False


def _service_status(state: ServiceState) -> ServiceStatus:
    runs = living(state) is not None
    return ServiceStatus(
        name=state.name,
        pid=state.pid if runs else None,
        uptime=time.time() - state.started if runs else None,
        restarts=state.restarts,
        error=state.error,
    )


def _size(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(path) / name).lstat().st_blocks * 512
            except OSError:  # gone meanwhile
                continue
    return total


def _free(layout: Layout) -> int | None:
    try:
        return free(layout)
    except OSError:
        return None
