"""Whose turn it is: which of the tasks that nothing else holds back are released now. Pure.

Everything that a submitter knows of waiting tasks meets here: what makes a task wait (its parents' ends, a retry's
delay) is over for all that come here. The policy, for each executor and pool by itself: higher priority first; within
one priority the users take turns, a task each; a user's own tasks in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qme_submitter.waiting import Waiting

#: executor and pool
Place = tuple[str, str]


def choose(
    turns: Turns, room: Callable[[Place], int], held: Callable[[Waiting], bool], most: int
) -> Sequence[Waiting]:
    """Take out those that are released now, in this order: as many as there is `room` for at each place.

    `held` says of a task that it has to stand back for now, such as one that no worker can run. `most`: at most so
    many in all; ask again for the others.
    """
    chosen: list[Waiting] = []
    for place in turns.places():
        chosen += turns.take(place, min(room(place), most - len(chosen)), held)
    return chosen


@dataclass(slots=True)
class _Line:
    """One place: users in the order of their turns, by priority."""

    #: priority → user → their tasks; a dict keeps the order in which users have their turn
    users: dict[int, dict[str, deque[str]]] = field(default_factory=dict)
    size: int = 0


class Turns:
    """The tasks that wait for nothing but their turn."""

    def __init__(self) -> None:
        self._tasks: dict[str, Waiting] = {}
        self._lines: dict[Place, _Line] = {}
        self._back: dict[Place, dict[str, Waiting]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def waits_at(self, place: Place) -> bool:
        """Tell whether anybody's turn is still to come at a place."""
        return place in self._lines

    def places(self) -> list[Place]:
        """Give the places at which somebody waits."""
        return list(self._lines)

    def places_held(self) -> list[Place]:
        """Give the places at which somebody had to stand back."""
        return [place for place, tasks in self._back.items() if tasks]

    def held_at(self, place: Place) -> list[str]:
        """Give the tasks that had to stand back at a place."""
        return list(self._back.get(place, ()))

    def add(self, task: Waiting) -> None:
        """Put a task at the end of its user's line."""
        uuid, place = task.key.uuid, (task.key.executor, task.key.pool)
        if uuid in self._tasks:
            self._tasks[uuid] = task
            return
        self._tasks[uuid] = task
        line = self._lines.setdefault(place, _Line())
        line.users.setdefault(task.priority, {}).setdefault(task.user, deque()).append(uuid)
        line.size += 1

    def discard(self, uuid: str) -> None:
        """Forget a task; its place in the line is passed over when it comes."""
        task = self._tasks.pop(uuid, None)
        if task is None:
            return
        place = task.key.executor, task.key.pool
        if self._back.get(place, {}).pop(uuid, None) is None:
            self._shorten(place)

    def take(self, place: Place, count: int, held: Callable[[Waiting], bool]) -> Iterable[Waiting]:
        """Take out so many whose turn it is at a place."""
        taken: list[Waiting] = []
        while len(taken) < count and (task := self._next(place)) is not None:
            self._shorten(place)
            if held(task):
                self._back.setdefault(place, {})[task.key.uuid] = task
            else:
                del self._tasks[task.key.uuid]
                taken.append(task)
        return taken

    def bring_back(self, uuids: Iterable[str]) -> None:
        """Give those of them another turn that had to stand back."""
        for uuid in uuids:
            task = self._tasks.get(uuid)
            if task is not None and self._is_back(task):
                del self._back[task.key.executor, task.key.pool][uuid]
                del self._tasks[uuid]
                self.add(task)

    def _next(self, place: Place) -> Waiting | None:
        line = self._lines.get(place)
        while line is not None and line.users:
            priority = max(line.users)
            users = line.users[priority]
            user = next(iter(users))
            queue = users.pop(user)
            task = self._first(queue, place, priority, user)
            if queue:
                users[user] = queue  # at the end: everybody else has their turn first
            if not users:
                del line.users[priority]
            if task is not None:
                return task
        return None

    def _first(self, queue: deque[str], place: Place, priority: int, user: str) -> Waiting | None:
        while queue:
            task = self._tasks.get(queue.popleft())
            # One that was discarded and came again may stand in the line twice, or in another one.
            if (
                task is not None
                and not self._is_back(task)
                and (task.priority, task.user) == (priority, user)
            ):
                return task
        return None

    def _is_back(self, task: Waiting) -> bool:
        return task.key.uuid in self._back.get((task.key.executor, task.key.pool), {})

    def _shorten(self, place: Place) -> None:
        line = self._lines[place]
        line.size -= 1
        if not line.size:
            del self._lines[place]
