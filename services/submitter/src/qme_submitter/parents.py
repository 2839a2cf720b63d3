"""Parents at submission: no task waits for itself, round a circle, or for a task that does not exist.

Order is what makes that hold while submitters die: a task's record is made after those of its parents. Those of other
users count too, since everybody in an account may read every task. Whether parents have ended is no question here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from qme.bus.kv import Removed
from qme.contracts import subjects
from qme.contracts.subjects import any_key
from qme.contracts.tasks import Parent
from qme.errors import BusUnavailable, InvalidRequest, NotFound, QmeError
from qme_submitter.buckets import Buckets

#: parents that were seen and are not looked up again
REMEMBERED = 50_000
#: above so many look-ups one list of all names is cheaper
LISTED = 200


class Parents:
    """Knows which tasks exist; what it has seen once it does not ask for again."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._known: dict[str, None] = {}

    def exists(self, uuid: str) -> None:
        """Take in that a task has its record."""
        self._known[uuid] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    async def check(self, parents: Sequence[Parent]) -> None:
        """Look for the tasks that one waits for, by the leader's word. Raises NotFound, BusUnavailable."""
        strange = [parent.uuid for parent in parents if parent.uuid not in self._known]
        if len(strange) > LISTED:
            stream, every = (
                self._buckets.records.stream,
                subjects.bucket_subject(subjects.BUCKET_TASKS, "*.*.*"),
            )
            there = {name[-36:] for name in await self._buckets.bus.subjects(stream, every)}
            missing = [uuid for uuid in strange if uuid not in there]
        else:
            found = await asyncio.gather(
                *(self._buckets.records.look(any_key(uuid), leader=True) for uuid in strange)
            )
            missing = [
                uuid
                for uuid, seen in zip(strange, found, strict=True)
                if seen is None or isinstance(seen, Removed)
            ]
        if missing:
            raise NotFound(f"there is no task {missing[0]} to wait for")
        for uuid in strange:
            self.exists(uuid)


class Order:
    """The order in which the tasks of one request are accepted, or rerun: none before its parents among them."""

    def __init__(self, tasks: Mapping[str, Sequence[Parent]]) -> None:
        """Take the tasks' parents by uuid. Raises InvalidRequest where tasks wait for each other in a circle."""
        self._parents = {
            uuid: [parent.uuid for parent in parents if parent.uuid in tasks]
            for uuid, parents in tasks.items()
        }
        self._settled = {uuid: asyncio.Event() for uuid in tasks}
        self._refused: dict[str, QmeError] = {}
        if any(self._parents.values()):
            _refuse_circles(self._parents)

    async def parents(self, task: str) -> None:
        """Wait until the parents of a task are settled. Raises InvalidRequest or BusUnavailable if one was refused."""
        for uuid in self._parents[task]:
            await self._settled[uuid].wait()
            error = self._refused.get(uuid)
            if error is None:
                continue
            if isinstance(error, BusUnavailable):
                raise BusUnavailable(f"it waits for {uuid}, which could not be accepted: {error.message}")
            raise InvalidRequest(f"it waits for {uuid}, which was refused: {error.message}")

    def settle(self, task: str, refused: QmeError | None = None) -> None:
        """Say that a task was accepted, or why it was not."""
        if refused is not None:
            self._refused[task] = refused
        self._settled[task].set()


def _refuse_circles(parents: Mapping[str, Iterable[str]]) -> None:
    sorter = TopologicalSorter(parents)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = error.args[1]
        raise InvalidRequest(f"these tasks wait for each other: {' -> '.join(circle)}") from None
