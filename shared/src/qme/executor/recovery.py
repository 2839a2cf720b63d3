"""Decides what a start token, an exit record and a look at the processes say about an attempt. Pure, but for `look`.

This is where "at most once per attempt" is decided after any crash: only NotStarted may be started.
"""

from __future__ import annotations

from dataclasses import dataclass

from qme.executor.attempts import AttemptDir, Exit, Token
from qme.executor.keeper import proc
from qme.executor.processes import Identity, boot_id, is_alive


@dataclass(frozen=True, slots=True)
class NotStarted:
    """There is no token: nobody has started it, and whoever makes the token may."""


@dataclass(frozen=True, slots=True)
class Running:
    """Its first process lives."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Ended:
    """It ended, and how is known."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class Lost:
    """It was started, or may have been, and how it ended can't be known any more."""

    reason: str


Finding = NotStarted | Running | Ended | Lost


def classify(
    token: Token | None, exit_record: Exit | None, current_boot: str, alive: bool, marked: Identity | None
) -> Finding:
    """Say what became of an attempt.

    `alive`: the process that the token names runs. `marked`: the leading process that carries the attempt's marker.
    """
    if exit_record is not None:
        return Ended(exit_record)
    if token is None:
        return NotStarted()
    if token.identity is not None and alive:
        return Running(token.identity)
    if token.boot_id is not None and token.boot_id != current_boot:
        return Lost("the host was restarted while the command ran")
    if token.identity is not None:
        return Lost("the keeper died before the command ended: its exit status is unknown")
    if marked is not None:
        return Running(marked)
    return Lost("the keeper died while it started the command: whether it ran is unknown")


def look(folder: AttemptDir) -> Finding:
    """Look at an attempt that no living keeper has in its list; asked while one starts it, this may say Lost."""
    token = folder.read_token()
    identity = token.identity if token else None
    alive = identity is not None and is_alive(identity)
    marked = _marked(folder) if token and identity is None else None
    # Read last: what is seen to have died without a record may have written it in between.
    return classify(token, folder.read_exit(), boot_id(), alive, marked)


def _marked(folder: AttemptDir) -> Identity | None:
    row = proc.leader(proc.snapshot(), f"{folder.uuid}.{folder.attempt}")
    return Identity(row.pid, row.start_time, boot_id()) if row else None
