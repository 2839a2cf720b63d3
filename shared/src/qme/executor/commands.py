"""The worker's side of commands: starts them through the keeper, waits for them, ends them, and survives its death.

Knows no task record and no bus. What a crash means for an attempt is decided in `recovery`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from qme.errors import NotFound
from qme.executor.attempts import AttemptDir, Exit
from qme.executor.link import KeeperError, KeeperLink
from qme.executor.processes import Identity, boot_id, is_alive
from qme.executor.recovery import Ended, Finding, Lost, NotStarted, Running, look
from qme.executor.spool import Spool

__all__ = ["AlreadyStarted", "Exit", "Expired", "Keeper", "KeeperError", "Lost", "Started"]

log = logging.getLogger(__name__)

#: seconds between two looks at a command whose keeper died: nobody tells when it ends
_ORPHAN_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class Started:
    """This call started the command; pid None: it could not be run, and its exit record says why."""

    pid: int | None


@dataclass(frozen=True, slots=True)
class AlreadyStarted:
    """The attempt was started before, by this worker or its predecessor: `wait` for it."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The keeper got to the request later than `not_after`, and started nothing."""


class Keeper:
    """The commands of one worker. Hold the spool's lock while using it.

    Every method connects to the spool's keeper, and starts one, where needed; every method is safe to repeat.
    All raise KeeperError (retryable) when no keeper can be reached.
    """

    def __init__(self, spool: Spool, *, idle_seconds: float = 60.0, sync: bool = True) -> None:
        """Prepare; nothing is started yet.

        `idle_seconds`: how long a keeper without worker and commands lives on. `sync`: bring each token to the disk
        before its command starts, so that not even a power cut can lead to a second start.
        """
        self._spool = spool
        self._link = KeeperLink(spool.path, idle_seconds, sync)

    async def connect(self) -> None:
        """Attach to the keeper; what a worker before us asked of it is done by then."""
        await self._link.connect()

    async def start(
        self,
        uuid: str,
        attempt: int,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        umask: int = 0o022,
        stdin: Path | None = None,
        not_after: float | None = None,
    ) -> Started | AlreadyStarted | Expired:
        """Start the command of an attempt, unless it was ever started before. KeeperError: it was not, ask again.

        `env` is all of its environment, its PATH included, by which argv[0] is found; `stdin` a file, else empty.
        `not_after` (seconds of CLOCK_BOOTTIME): a keeper that gets to it later starts nothing.
        """
        answer = await self._link.ask(
            "start",
            task=_name(self._spool.attempt(uuid, attempt)),
            argv=list(argv),
            env=dict(env),
            cwd=str(cwd),
            umask=umask,
            stdin=str(stdin) if stdin else None,
            not_after=not_after,
        )
        match answer["result"]:
            case "started":
                return Started(answer["pid"])
            case "already":
                return AlreadyStarted()
            case _:
                return Expired()

    async def find(self, uuid: str, attempt: int) -> Finding:
        """Say what is known of an attempt right now; NotStarted is certain, nobody is about to start it."""
        folder = self._spool.attempt(uuid, attempt)
        if known := self._known_exit(folder):
            return Ended(known)
        # A round trip: the keeper does one thing after the other, so none is in the middle of a start afterwards.
        await self._link.ask("list")
        if identity := self._link.running.get(_name(folder)):
            return Running(identity)
        finding = look(folder)
        known = self._known_exit(folder)
        return Ended(known) if known else finding

    async def wait(self, uuid: str, attempt: int) -> Exit | Lost:
        """Wait for the end of a command, whoever started it and whenever it ended. NotFound: it was never started.

        Lost: its keeper died before it. A command that outlived its keeper is waited for first.
        """
        folder = self._spool.attempt(uuid, attempt)
        task = _name(folder)
        while True:
            if task in self._link.running:
                if told := await self._link.end_of(task):
                    return told
                continue
            match await self.find(uuid, attempt):
                case Ended(known):
                    return known
                case Lost() as lost:
                    return lost
                case NotStarted():
                    raise NotFound(f"the command of attempt {attempt} of {uuid} was never started here")
                case Running(identity):
                    if task not in self._link.running:
                        await _gone(identity)
                case never:
                    assert_never(never)

    async def end(self, uuid: str, attempt: int, grace: float, reason: str | None = None) -> list[int]:
        """End everything that belongs to an attempt: TERM, KILL after `grace` seconds, until nothing is left.

        `reason` goes into the exit record, unless the command has ended by itself before; the first one counts.

        Includes what a command that ended long ago left in the background. Gives the pids that may not be signalled
        (set-uid programs), which live on. Goes on when the caller stops waiting.
        """
        answer = await self._link.ask("end", **self._named(uuid, attempt), grace=grace, reason=reason)
        if unclear := answer.get("unclear"):
            log.warning("keeper.unclear: %s: processes of it or of another task: %s", uuid, unclear)
        return list(answer["result"])

    async def signal(self, uuid: str, attempt: int, number: int) -> int:
        """Send one signal to every process of an attempt; how many got it. Repeating sends it again."""
        answer = await self._link.ask("signal", **self._named(uuid, attempt), signal=number)
        return int(answer["result"])

    def running(self) -> dict[tuple[str, int], Identity]:
        """Give what runs under the keeper, by uuid and attempt; empty while there is no connection."""
        split = (task.rpartition(".") for task in self._link.running)
        return {(uuid, int(n)): self._link.running[f"{uuid}.{n}"] for uuid, _, n in split}

    async def quit(self) -> None:
        """Tell a keeper that we are connected to that it may leave as soon as nothing runs."""
        if self._link.connected:
            await self._link.ask("quit")

    async def close(self) -> None:
        """Hang up; commands and keeper go on."""
        await self._link.close()

    def _known_exit(self, folder: AttemptDir) -> Exit | None:
        # Memory first: where the record could not be written, something odd may stand in its place.
        return self._link.unsaved.get(_name(folder)) or folder.read_exit()

    def _named(self, uuid: str, attempt: int) -> dict[str, Any]:
        """Name an attempt and the process that its token names: a keeper that came later does not know it."""
        folder = self._spool.attempt(uuid, attempt)
        token = folder.read_token()
        identity = token.identity if token else None
        if identity is None or identity.boot_id != boot_id():
            return {"task": _name(folder)}
        return {"task": _name(folder), "pid": identity.pid, "start_time": identity.start_time}


def _name(folder: AttemptDir) -> str:
    return f"{folder.uuid}.{folder.attempt}"


async def _gone(identity: Identity) -> None:
    # No pidfd here: it would need a newer kernel than the rest of qme, for a case that hardly ever comes.
    while is_alive(identity):  # noqa: ASYNC110 -- there is nobody who could set an event
        await asyncio.sleep(_ORPHAN_LOOK)
