"""Which tasks a worker has room for: slots, cpus, memory, GPUs. Pure counting, no bus and no waiting.

One rule keeps big tasks from being starved by small ones: whoever has to wait stands in a line, and while anybody
stands there nobody else is given anything. So what becomes free gathers until the first in the line fits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from qme.contracts.resources import NOTHING, Capacity, Resources, shortage
from qme.executor.capacity import VISIBLE, Supply

WhoT = TypeVar("WhoT")


@dataclass(frozen=True, slots=True)
class Grant:
    """What was given to a task."""

    asked: Resources = NOTHING
    gpus: tuple[str, ...] = ()


class Packing(Generic[WhoT]):
    """What one worker has given to whom, and who stands in line. `supply` None: there are slots only."""

    def __init__(self, slots: int, supply: Supply | None) -> None:
        self._slots = slots
        self._supply = supply
        self._grants: dict[WhoT, Grant] = {}
        self._line: deque[WhoT] = deque()

    def __len__(self) -> int:
        return len(self._grants)

    @property
    def capacity(self) -> Capacity | None:
        """What the worker has in all."""
        return self._supply.capacity if self._supply else None

    @property
    def line(self) -> int:
        """How many stand in line."""
        return len(self._line)

    @property
    def closed(self) -> bool:
        """Nothing can be given to a newcomer, whatever it asks for."""
        return bool(self._line) or any(grant.asked.exclusive for grant in self._grants.values())

    @property
    def has_slot(self) -> bool:
        """Somebody who asks for no more than a slot could be given one."""
        return not self.closed and len(self._grants) < self._slots

    @property
    def asking(self) -> bool:
        """Something that was given counts for more than its slot: the next one may not fit."""
        return any(grant.asked != NOTHING for grant in self._grants.values())

    def granted(self, who: WhoT) -> Grant | None:
        """Give what a task was given."""
        return self._grants.get(who)

    def short(self, asked: Resources | None) -> Resources | None:
        """Give what a wish lacks even in this worker when it is empty; None where it fits."""
        return shortage(asked, self._supply.capacity) if asked and self._supply else None

    def take(self, who: WhoT, asked: Resources | None) -> Grant | None:
        """Give a task what it asks for, if it is its turn and all of it is free; what it was given stays given."""
        if who in self._grants:
            return self._grants[who]
        if self._line and self._line[0] != who:
            return None
        wish = self._wish(asked)
        if not self._is_free(wish):
            return None
        if self._line:
            self._line.popleft()
        return self._give(who, wish, self._free_gpus()[: wish.gpus])

    def wait(self, who: WhoT) -> None:
        """Put a task at the end of the line."""
        if who not in self._line:
            self._line.append(who)

    def count(self, who: WhoT, asked: Resources | None, gpus: tuple[str, ...] = ()) -> Grant:
        """Count what a task holds already, be it more than there is: its command runs."""
        wish = self._wish(asked)
        return self._give(who, wish, gpus or self._free_gpus()[: wish.gpus])

    def free(self, who: WhoT) -> None:
        """Take back what a task has, and its place in the line; nothing where it has neither."""
        self._grants.pop(who, None)
        if who in self._line:
            self._line.remove(who)

    def _wish(self, asked: Resources | None) -> Resources:
        return asked if asked is not None and self._supply is not None else NOTHING

    def _give(self, who: WhoT, asked: Resources, gpus: tuple[str, ...]) -> Grant:
        grant = self._grants[who] = Grant(asked, gpus)
        return grant

    def _is_free(self, wish: Resources) -> bool:
        given = [grant.asked for grant in self._grants.values()]
        if len(given) >= self._slots or any(one.exclusive for one in given) or (wish.exclusive and given):
            return False
        supply = self._supply
        if supply is None:
            return True
        # Who asks for nothing of a kind is not kept back by it, though what was adopted may be more than there is.
        return (
            (not wish.cpus or wish.cpus + sum(one.cpus for one in given) <= supply.cpus)
            and (not wish.mem or wish.mem + sum(one.mem for one in given) <= supply.mem)
            and wish.gpus <= len(self._free_gpus())
        )

    def _free_gpus(self) -> tuple[str, ...]:
        taken = {name for grant in self._grants.values() for name in grant.gpus}
        return tuple(name for name in (self._supply.gpus if self._supply else ()) if name not in taken)


def environment(grant: Grant) -> dict[str, str]:
    """Tell a command what it was given. One that asked for no GPU sees those that its worker sees."""
    asked = grant.asked
    told = {"QME_CPUS": asked.cpus, "QME_MEM": asked.mem}
    found = {name: str(value) for name, value in told.items() if value}
    return {**found, VISIBLE: ",".join(grant.gpus)} if grant.gpus else found
