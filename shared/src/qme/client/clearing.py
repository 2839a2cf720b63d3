"""Which tasks a `clear` means. Clears nothing and asks nobody: that is for whoever calls it."""

from __future__ import annotations

from collections.abc import Sequence

from qme.client import groups
from qme.client.api import AsyncClient
from qme.client.listing import Wanted, ago
from qme.contracts.messages import Target
from qme.contracts.subjects import executor_name
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, NotFound


async def selection(
    client: AsyncClient,
    targets: Sequence[str],
    *,
    user: str | None = None,
    older_than: float | None = None,
    running: bool = False,
    unreadable: bool = False,
) -> list[Target]:
    """Name the tasks: those given by id, all of an executor given by name, all of the user's without any.

    Of an executor's or all, only ended ones unless `running`, and only those that ended `older_than` seconds ago.
    A task given by id is taken as it is: whether it can be cleared is for the submitter to say.
    """
    if not targets:
        return await _all(client, None, user, older_than, running)
    found: list[Target] = []
    for target in targets:
        if (group := groups.name_of(target)) is not None:
            members = await groups.everything(client, group)
            before = Wanted(ended_before=ago(older_than))
            if not members:
                raise NotFound(f"you have no group {group!r}; `qme ls` lists your tasks")
            found += [groups.target(one) for one in members if (one.ended or running) and before.takes(one)]
            continue
        try:
            found += await client.targets([target], unreadable=unreadable)
        except NotFound:
            tasks = await _all(client, target, user, older_than, running) if _is_executor(target) else []
            if not tasks:
                raise
            found += tasks
    return found


async def _all(
    client: AsyncClient, executor: str | None, user: str | None, older_than: float | None, running: bool
) -> list[Target]:
    wanted = Wanted(executor=executor, user=user or client.user, ended_before=ago(older_than))
    return [
        Target(uuid=item.uuid, attempt=item.attempt)
        async for item in client.stream(wanted)
        if isinstance(item, TaskRecord) and (item.ended or running)
    ]


def _is_executor(text: str) -> bool:
    try:
        executor_name(text)
    except InvalidRequest:
        return False
    return True
