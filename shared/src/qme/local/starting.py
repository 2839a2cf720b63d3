"""Starts the stack, or takes part in a start that another command began. For commands; the rest is the supervisor's."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from qme.errors import LocalStackError
from qme.executor.processes import identity_of, spawn_detached
from qme.local import plan, ports, surroundings
from qme.local.layout import (
    Layout,
    ServiceState,
    State,
    explained,
    is_held,
    locked,
    prepare,
    read_state,
    replace,
    room,
)
from qme.local.services import bound, last_words
from qme.local.stack import Endpoint, Say, alive
from qme.settings import Settings

#: seconds until a stack has to serve, and for which another command's start is waited for
PATIENCE = 30.0
_OTHERS_PATIENCE = 90.0
_PAUSE = 0.02
#: a service that ended this often while the stack starts will not do better soon
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a stack is made of, and how to see that it serves.

    `serving` returns once the services do; it calls its last argument now and then, which raises LocalStackError when
    there is no hope.
    """

    services: Callable[[Settings], tuple[plan.Program, ...]]
    serving: Callable[[Settings, Endpoint, Callable[[], None]], Awaitable[None]]
    probe: tuple[str, ...] | None = None


async def _serving(settings: Settings, endpoint: Endpoint, check: Callable[[], None]) -> None:
    from qme.local import tasks

    await tasks.serving(settings, endpoint, plan.executors(), check)


STANDARD = Recipe(plan.services, _serving)


async def start(settings: Settings, *, say: Say, recipe: Recipe = STANDARD) -> Endpoint:
    """Give the bus of the stack in the settings' folder, started where it does not live. Raises LocalStackError."""
    layout = Layout(settings.local_dir)
    prepare(layout, settings.home)
    async with locked(layout.start_lock, _OTHERS_PATIENCE):
        if endpoint := alive(layout):  # another command was faster
            return endpoint
        before = read_state(layout)
        pid = await _supervisor(settings, layout, say, recipe)
        # A stack that has served is kept alive by its supervisor: what ended three times now may be there in a moment.
        has_served = not pid and layout.ready.exists()
        attempt = _Attempt(layout, pid, settings.publish_retry if has_served else 0.0)
        endpoint = await attempt.address()
        try:
            async with asyncio.timeout(attempt.remaining()):
                await recipe.serving(settings, endpoint, attempt.check)
        except TimeoutError:
            raise attempt.failure() from None
        with explained(layout.ready):
            layout.ready.touch(mode=0o600)
        verb = "took over" if _same_server(before, read_state(layout)) else "started"
        say(f"{verb} a local stack in {layout.root} (`qme down` ends it)")
        return endpoint


async def _supervisor(settings: Settings, layout: Layout, say: Say, recipe: Recipe) -> int:
    """Start a supervisor and give its pid, or 0 when there is one already."""
    state = read_state(layout)
    if state is not None and state.stopping:
        deadline = time.monotonic() + _OTHERS_PATIENCE
        while is_held(layout.supervisor_lock) and time.monotonic() < deadline:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(_PAUSE)
    if is_held(layout.supervisor_lock):  # the command that started it did not live to see it serve
        return 0
    for notice in surroundings.notices(settings):
        say(notice)
    stack = plan.make(settings, recipe.services(settings), recipe.probe)
    log = layout.log("supervisor")
    argv = [*plan.PYTHON, "qme.local.supervisor", os.fspath(layout.root)]
    with explained(layout.root):
        layout.ready.unlink(missing_ok=True)
        replace(layout.plan, stack.dumps())
        bound(log)
        return spawn_detached(argv, log, plan.environment(settings, os.environ, room(layout)))


class _Attempt:
    """A start that is under way: waits for it, and tells when it has failed."""

    def __init__(self, layout: Layout, pid: int, patience: float) -> None:
        self._layout = layout
        #: until then services may end as often as they like
        self._lenient_until = time.monotonic() + patience
        self._deadline = time.monotonic() + PATIENCE
        #: the supervisor that we started; None when it was there before us
        self._supervisor = identity_of(pid) if pid else None
        self._pid = pid

    def remaining(self) -> float:
        """Seconds left."""
        return max(0.0, self._deadline - time.monotonic())

    async def address(self) -> Endpoint:
        """Wait until the server listens. Raises LocalStackError."""
        while True:
            state = self._state()
            if state and state.url and not state.stopping and ports.is_ours(state.port):
                return Endpoint(state.url, self._layout.creds)
            self.check()
            if not self.remaining():
                raise self.failure()
            await asyncio.sleep(_PAUSE)

    def check(self) -> None:
        """Raise LocalStackError when the supervisor has given up, or a service ends again and again."""
        if self._pid and (self._supervisor is None or identity_of(self._pid) != self._supervisor):
            words = last_words(self._layout.log("supervisor"))
            raise LocalStackError(f"the local stack can't be started: {words or 'its supervisor ended'}")
        if time.monotonic() < self._lenient_until:
            return
        state = self._state()
        for service in state.services if state else ():
            if not service.pid and service.failures >= _TRIES:
                raise self._broken([service])

    def failure(self) -> LocalStackError:
        """Word what is known about a start that took too long."""
        state = self._state()
        ended = [service for service in state.services if not service.pid] if state else []
        if ended:
            return self._broken(ended)
        return LocalStackError(
            f"the local stack does not serve after {PATIENCE:.0f} s; see {self._layout.logs}"
        )

    def _broken(self, services: Sequence[ServiceState]) -> LocalStackError:
        told = "; ".join(f"{service.name} {service.error}" for service in services)
        return LocalStackError(f"the local stack does not start: {told} (logs: {self._layout.logs})")

    def _state(self) -> State | None:
        """Give the state, unless it is still that of an earlier supervisor."""
        state = read_state(self._layout)
        return state if state and self._pid in (0, state.pid) else None


def _same_server(before: State | None, now: State | None) -> bool:
    return bool(before and now and before.services and before.services[0] in now.services[:1])
