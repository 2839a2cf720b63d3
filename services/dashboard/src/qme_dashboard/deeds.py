"""What a person may do to tasks through the dashboard, and what came of it. Whatever is changed is changed here.

Tasks are named by uuid and the attempt that the person saw: what has moved on since then is left alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from qme.client import AsyncClient, Options
from qme.contracts import subjects
from qme.contracts.executors import ActionInfo
from qme.contracts.messages import Result, Target
from qme.errors import InvalidRequest, NotPermitted, from_wire

#: tasks that one request may name
MOST = 500
READ_ONLY = "this dashboard only shows; `qme start --allow-actions` lets it change tasks"

#: a login of the role `dashboard` acts for people, and workers could not tell for whom
NO_ASKING = (
    "only a worker can answer this, and this dashboard's login (role dashboard) may not ask workers: it could not say"
    " for whom; use `qme exec`"
)
#: behind a proxy people have their own rights, and an executor would see the dashboard's
NOT_THEIRS = "it would be asked for as the dashboard's own account, not as you; use `qme exec`"


@dataclass(frozen=True)
class Person:
    """Who asks.

    `may_act`: this dashboard changes things at all. `named`: a proxy said who it is, and the dashboard asks on that
    person's behalf; else it asks as the account that it runs as.
    """

    name: str
    may_act: bool = False
    named: bool = False

    @property
    def may_submit(self) -> bool:
        """A new command runs as the dashboard's own account: only its owner may give one."""
        return self.may_act and not self.named


class Done(NamedTuple):
    """What became of one task."""

    uid: str
    ok: bool
    said: str


VERBS = ("cancel", "rerun", "clear")
_SAID = {"cancel": "cancelled", "rerun": "queued again", "clear": "deleted"}


def check(person: Person, verb: str, count: int) -> None:
    """Refuse what no bus need be asked about. Raises NotPermitted, InvalidRequest."""
    _check(person)
    if verb not in VERBS:
        raise InvalidRequest(f"no such change: {verb!r}; there are {', '.join(VERBS)}")
    if not 0 < count <= MOST:
        raise InvalidRequest(f"name 1 to {MOST} tasks, not {count}")


async def change(
    client: AsyncClient, person: Person, verb: str, targets: Sequence[Target], *, force: bool = False
) -> list[Done]:
    """Cancel, rerun or clear tasks, and give what became of each. Raises NotPermitted, InvalidRequest, others."""
    check(person, verb, len(targets))
    control = client.on_behalf(person.name) if person.named else client.control
    match verb:
        case "cancel":
            results = await control.cancel(targets, reason=f"asked by {person.name} in the dashboard")
        case "rerun":
            results = await control.rerun(targets, force=force)
        case _:
            results = await control.clear(targets, force=force)
    return [_done(result, _SAID[verb]) for result in results]


async def act(client: AsyncClient, person: Person, uuid: str, name: str, args: Mapping[str, Any]) -> Any:
    """Run an action of a task. Reading ones are everybody's, changing ones need what `change` needs."""
    record = await client.get(uuid, output=False)
    offered = {info.name: info for info in await client.actions().of(record)}
    if name not in offered:
        raise InvalidRequest(f"{record.executor} has no action {name!r}; it has {', '.join(offered)}")
    why = barred(person, client.user, offered[name])
    if why is not None:
        raise NotPermitted(why)
    return await client.actions().run(record, name, args)


def barred(person: Person, login: str, action: ActionInfo) -> str | None:
    """Say why a person can't run an action through a dashboard with this login; None: they can try."""
    if action.remote and login.startswith(subjects.DASHBOARD):
        return NO_ASKING
    if not action.changes and action.name != "cancel":
        return None
    if not person.may_act:
        return READ_ONLY
    return NOT_THEIRS if person.named else None


async def submit(client: AsyncClient, person: Person, command: str, like: Mapping[str, Any]) -> str:
    """Submit a command as a new task, in the folder and with the labels of another one, and give its id."""
    _check(person)
    if not person.may_submit:
        raise NotPermitted("a new command would run as the dashboard's own account; use `qme submit`")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidRequest(f"this command can't be read: {error}") from error
    if not words:
        raise InvalidRequest("there is no command")
    options = Options(cwd=like.get("cwd"), labels=dict(like.get("labels") or {}), message=like.get("message"))
    result = await client.submit(words, options)
    return result.taskid or result.uuid


def _check(person: Person) -> None:
    if not person.may_act:
        raise NotPermitted(READ_ONLY)


def _done(result: Result, said: str) -> Done:
    name = result.taskid or result.uuid
    if result.error is not None:
        return Done(name, ok=False, said=from_wire(result.error).message)
    return Done(name, ok=True, said=result.note or ("nothing was left to do" if result.already else said))
