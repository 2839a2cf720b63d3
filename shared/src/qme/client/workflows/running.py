"""Submits a workflow, or goes on with one: cancels what is replaced, reruns what has not succeeded, adds the new."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qme.client import groups
from qme.client.api import AsyncClient
from qme.client.control import checked
from qme.client.submission import Options, prepare
from qme.client.workflows.expansion import Planned, Workflow
from qme.client.workflows.resuming import GENERATIONS, Plan, independent, keyed, plan
from qme.contracts.messages import Result, Submission
from qme.contracts.tasks import Parent
from qme.errors import InvalidRequest, WasCleared, from_wire


@dataclass(frozen=True, slots=True)
class Run:
    """What was done: the tasks of the workflow in its order, and how it was gone on with."""

    tasks: Sequence[Submission]
    results: Sequence[Result]
    plan: Plan


#: label of a workflow's tasks: its file
ORIGIN = "workflow"
#: characters of a label's value
LONGEST_ORIGIN = 256

Prepared = list[tuple[Submission, tuple[Parent, ...]]]


def prepared(flow: Workflow, wishes: Options, *, host: str) -> Prepared:
    """Make the submissions of a workflow, each with its parents by name. Needs no bus.

    `wishes` are what a person says for all tasks; what the file says wins. Raises InvalidRequest.
    """
    group = wishes.group or flow.name
    return [
        (_submission(flow, task, replace(wishes, group=group), host), _parents(task)) for task in flow.tasks
    ]


def _parents(task: Planned) -> tuple[Parent, ...]:
    return tuple(Parent(uuid=name, on=on) for name, on in task.after.items())


def _submission(flow: Workflow, task: Planned, wishes: Options, host: str) -> Submission:
    said = {name: value for name, value in task.options.items() if value not in (None, (), {}, 0, False)}
    cwd = said.pop("cwd", None) or wishes.cwd
    # As the shell names it: a site mounts by those names.
    folder = os.path.abspath(flow.path.parent / (cwd or "."))  # noqa: PTH100 - keeps links
    said["env"] = {**wishes.env, **said.get("env", {})}
    said["labels"] = {ORIGIN: str(flow.path)[-LONGEST_ORIGIN:], **wishes.labels, **said.get("labels", {})}
    said["send"] = [flow.path.parent / path for path in task.options["send"]]
    try:
        made = prepare(task.command, replace(wishes, name=task.name, cwd=folder, **said), host=host)
    except InvalidRequest as error:
        raise InvalidRequest(f"{task.name}: {error.message}") from None
    files = tuple(
        sent.model_copy(update={"name": Path(path).as_posix()}) if not Path(path).is_absolute() else sent
        for sent, path in zip(made.files, task.options["send"], strict=True)
    )
    return made.model_copy(update={"cwd_given": cwd is not None, "files": files})


async def begin(
    client: AsyncClient,
    tasks: Prepared,
    *,
    fresh: bool = False,
    tell: Callable[[Plan], None] = lambda _: None,
) -> Run:
    """Run what has not succeeded; with `fresh` all of it. Safe to repeat after any break."""
    there = await groups.everything(client, tasks[0][0].group or "")
    known = {record.uuid: record for record in there}
    mine = [(client.own(task), parents) for task, parents in tasks]
    least: dict[str, int] = {}
    for _ in range(GENERATIONS):
        own = keyed(client.bus.user, mine, known, least)
        what = plan(own, there, fresh=fresh)
        _check_origin(own[0], what)
        found = await _submit(client, what)
        cleared = {uuid for uuid, result in found.items() if _was_cleared(result)}
        if not cleared:
            tell(what)
            done = {uuid: Result(uuid=uuid, taskid=record.uid) for uuid, record in known.items()} | found
            return Run(own, [done[task.uuid] for task in own], what)
        # What waits for a cleared task has to follow it into its next generation, by its key.
        for task in own:
            if task.uuid in cleared:
                least[task.name or ""] = least.get(task.name or "", 0) + 1
    raise InvalidRequest("the tasks were cleared too often; give the workflow another name")


def _check_origin(own: Submission, what: Plan) -> None:
    """Refuse to end what another file has made: two workflows may have one name by accident."""
    for record in what.replaced:
        origin = record.labels.get(ORIGIN)
        if origin != own.labels.get(ORIGIN):
            raise InvalidRequest(
                f"@{own.group} has tasks on their way that are not of this file ({record.uid} is of {origin}); "
                "give this workflow another name, or --group, or cancel those"
            )


async def _submit(client: AsyncClient, what: Plan) -> dict[str, Result]:
    """Bring a plan about; where a new task turns out to have been cleared, no further than that."""
    if what.replaced:
        targets = [groups.target(record) for record in what.replaced]
        await client.control.cancel(targets, reason="the workflow has changed")
    free = independent(what)
    found = {result.uuid: result async for result in client.submit_many(free)}
    if any(map(_was_cleared, found.values())):
        return found
    # Before those that wait for them: else these would be judged by the ends that are to be made good.
    for result in await client.control.rerun([groups.target(record) for record in what.again]):
        checked(result)
    rest = [task for task in what.new if task.uuid not in found]
    return found | {result.uuid: result async for result in client.submit_many(rest)}


def _was_cleared(result: Result) -> bool:
    return result.error is not None and isinstance(from_wire(result.error), WasCleared)
