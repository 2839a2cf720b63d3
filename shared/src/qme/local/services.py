"""One background service: start it, find it again, notice its end, wait ever longer before the next start.

What the services are is in `plan`; when to start which one is decided in `supervisor`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from qme.executor.processes import Identity, identity_of, is_alive, spawn_detached, terminate
from qme.local.layout import Layout, ServiceState

#: seconds before a service that ended is started again: the first pause, and the longest
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
#: a service that lived for this many seconds has not failed at its start: its pauses begin anew
_SETTLED = 30.0
#: seconds from TERM to KILL
_GRACE = 10.0
#: bytes of a log file that are kept, twice: the file and the one before it
LOG_LIMIT = 10 << 20
#: bytes at the end of a log in which the reason of an end is looked for
_TAIL = 4096


class Service:
    """A service of one stack, by name and command."""

    def __init__(self, name: str, argv: Sequence[str], layout: Layout) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = layout.log(name)
        self.identity: Identity | None = None
        self.started = 0.0
        self.restarts = 0
        self.error = ""
        self.url = ""  #: address of the bus that it was told
        self.due = 0.0  #: monotonic second before which it is not started again
        self._layout = layout
        self._failures = 0

    @property
    def state(self) -> ServiceState:
        """What the state file says of it."""
        who = self.identity or Identity(0, 0, "")
        return ServiceState(
            self.name,
            who.pid,
            who.start_time,
            who.boot_id,
            started=self.started,
            restarts=self.restarts,
            failures=self._failures,
            error=self.error,
            url=self.url,
        )

    def start(self, env: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        """Start it; a failure to do so counts as its end."""
        bound(self.log)
        if self.started:
            self.restarts += 1
        self.started = time.time()
        self.url = env.get("QME_NATS_URL", "")
        try:
            self.identity = identity_of(spawn_detached(self.argv, self.log, env, pass_fds))
        except OSError as error:
            self.fail(f"can't be started: {error.strerror or error}")
        else:
            if self.identity is None:
                self.fail(reason(self.log))

    def adopt(self, state: ServiceState | None) -> None:
        """Take over the process that an earlier supervisor started, if it lives."""
        ran = state is not None and state.pid
        if state is not None and ran:
            self.restarts, self.error = state.restarts, state.error
            self.started, self.url = state.started, state.url
            self.identity = living(state)
        if self.identity is None:
            self.identity = find(self.argv, self._layout.root)
            if self.identity is not None:  # its start was not written down
                self.started = time.time()
        if self.identity is None and ran:
            self.fail(reason(self.log))
            self.due = 0.0

    def look(self) -> bool:
        """Tell whether it runs; the first look after its end notes the reason and sets when to start it again."""
        if self.identity is not None and not is_alive(self.identity):
            self.fail(reason(self.log))
        return self.identity is not None

    async def stop(self) -> None:
        """End it, in ten seconds at most."""
        if self.identity is not None:
            await terminate(self.identity, _GRACE)
            self.identity = None

    def fail(self, why: str) -> None:
        """Note that it does not run and why, and when to try again."""
        self.identity = None
        self.error = why
        self._failures = 1 if time.time() - self.started >= _SETTLED else self._failures + 1
        self.due = time.monotonic() + min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE)


def living(state: ServiceState) -> Identity | None:
    """Name the process of a service if it lives: exactly that one, not a later one with its pid."""
    identity = Identity(state.pid, state.start_time, state.boot_id)
    return identity if state.pid and is_alive(identity) else None


def find(argv: Sequence[str], root: Path) -> Identity | None:
    """Find a service of the stack in `root` by its command: its supervisor died before it could write down the pid."""
    command = "\0".join([*argv, ""]).encode(errors="surrogateescape")
    marker = f"\0QME_LOCAL_DIR={root}\0".encode(errors="surrogateescape")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # another account's, or gone meanwhile
            if (entry / "cmdline").read_bytes() != command:
                continue
            if marker in b"\0" + (entry / "environ").read_bytes():
                return identity_of(int(entry.name))
    return None


def bound(log: Path) -> None:
    """Keep a log from growing for ever; its writer appends, and may go on meanwhile."""
    with suppress(OSError):
        if log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)


def reason(log: Path) -> str:
    """Say why a service ended, as far as its log tells."""
    words = last_words(log)
    return f"ended, last saying: {words}" if words else "ended without a word"


def last_words(log: Path) -> str:
    """Give the last line of a log, without its frame where it is JSON; "" when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    with suppress(ValueError):
        entry = json.loads(last)
        if isinstance(entry, dict):
            last = " ".join(str(entry[key]) for key in ("event", "error", "exception") if key in entry)
    return last[:300]
