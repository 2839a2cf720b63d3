"""What `@NAME` and lists of ids mean: which tasks belong to a group, and which ones a task is to wait for.

A group is its owner's: the same name of two users means two groups. Changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

from qme.client.listing import Wanted
from qme.contracts.messages import Target
from qme.contracts.tasks import On, Outcome, Parent, TaskRecord
from qme.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from qme.client.api import AsyncClient
    from qme.client.submission import Options

SIGN = "@"
_NOT_FAILED = (None, Outcome.SUCCESS, Outcome.CANCELLED)


def name_of(text: str) -> str | None:
    """Give the group's name of what a person wrote; None where it is no group but an id."""
    return text[len(SIGN) :] if text.startswith(SIGN) else None


async def members(client: AsyncClient, group: str) -> list[TaskRecord]:
    """Give a group's tasks, oldest first; of several with one name the newest. Raises NotFound where there are none."""
    found = current(await everything(client, group))
    if not found:
        raise NotFound(f"you have no group {group!r}; `qme ls` lists your tasks")
    return found


async def everything(client: AsyncClient, group: str) -> list[TaskRecord]:
    """Give all that was ever submitted to a group and is still there, oldest first."""
    wanted = Wanted(user=client.user, group=group)
    found = [item async for item in client.stream(wanted) if isinstance(item, TaskRecord)]
    return sorted(found, key=lambda record: (record.created, record.uuid))


def current(records: Iterable[TaskRecord]) -> list[TaskRecord]:
    """Leave out what a newer task of the same name has taken the place of; they come oldest first."""
    newest = {record.name or record.uuid: record for record in records}
    return list(newest.values())


def target(record: TaskRecord) -> Target:
    """Name a task as it was read."""
    return Target(uuid=record.uuid, attempt=record.attempt)


def failed(records: Iterable[TaskRecord]) -> list[TaskRecord]:
    """Give those that a rerun of what failed means: what ended badly, and what was cancelled on account of it.

    What somebody cancelled is left as it is, and so is what was cancelled on account of that.
    """
    known = {record.uuid: record for record in records}
    wanted: dict[str, bool] = {}

    def is_wanted(uuid: str) -> bool:
        chain: list[str] = []
        while uuid not in wanted:
            record = known.get(uuid)
            chain.append(uuid)
            if record is not None and record.unmet is not None:
                uuid = record.unmet
                continue
            wanted[uuid] = record is not None and record.outcome not in _NOT_FAILED
        verdict = wanted[uuid]
        wanted.update(dict.fromkeys(chain, verdict))
        return verdict

    # An array's head runs nothing itself: its tasks stand here too.
    return [record for record in known.values() if record.array is None and is_wanted(record.uuid)]


async def uuids(client: AsyncClient, texts: Iterable[str]) -> AsyncIterator[str]:
    """Give the uuids that ids and groups stand for. Raises NotFound, InvalidRequest."""
    for text in texts:
        if (group := name_of(text)) is not None:
            for record in await members(client, group):
                yield record.uuid
        else:
            yield (await client.records.need(text)).uuid


async def parents(client: AsyncClient, options: Options) -> Sequence[Parent]:
    """Name the tasks that a task waits for, each once."""
    found: dict[str, On] = {}
    for on, texts in (
        (On.SUCCESS, options.after),
        (On.ANY, options.after_any),
        (On.FAIL, options.after_fail),
    ):
        async for uuid in uuids(client, texts):
            if found.setdefault(uuid, on) is not on:
                raise InvalidRequest(f"{uuid} can be waited for in one way only: {found[uuid]} or {on}")
    return tuple(Parent(uuid=uuid, on=on) for uuid, on in found.items())
