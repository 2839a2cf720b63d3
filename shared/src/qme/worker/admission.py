"""Lets tasks in as there is room for them: the line in which one waits, and what becomes of messages that can't.

A message that does not fit is given back once, as another worker of the pool may be idle. The one that comes again is
kept, with what becomes free set aside for it: else it would come again and again, and small ones would pass it for
ever. One is kept at most; what came along with it is given back, and this worker asks for nothing more until the one
that it keeps is in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from qme.bus.topology import ACK_WAIT
from qme.contracts.resources import Capacity, Resources
from qme.errors import QmeError
from qme.worker.packing import Grant, Packing

#: an attempt of a task: uuid and number
Which = tuple[str, int]

#: seconds until a message comes again that another worker can take, and one that no living worker can: the first
#: time, and at most, doubling
ELSEWHERE, NOWHERE, LONGEST = 1.0, 2.0, 30.0
#: seconds between two signs that a message is still being worked on
SIGN = ACK_WAIT / 4
#: messages given back that are remembered
REMEMBERED = 10_000


class NoRoom(QmeError):
    """The message goes back, to come again after `delay` seconds."""

    def __init__(self, why: str, delay: float = 0.0) -> None:
        super().__init__(why)
        self.delay = delay


class TooBig(QmeError):
    """This worker lacks something that the task asks for even when it is empty."""


class Admission:
    """Who may run on one worker; `changed` is called whenever there may be room for more."""

    def __init__(self, packing: Packing[Which], changed: Callable[[], None]) -> None:
        self._packing = packing
        self._changed = changed
        self._freed = asyncio.Event()
        #: messages that were given back, and for how long the last time
        self._back: dict[Which, float] = {}

    def __len__(self) -> int:
        return len(self._packing)

    @property
    def capacity(self) -> Capacity | None:
        """What this worker has in all; None: slots only."""
        return self._packing.capacity

    @property
    def asking(self) -> bool:
        """Something that runs asks for more than a slot."""
        return self._packing.asking

    @property
    def has_slot(self) -> bool:
        """One that asks for no more than a slot could be let in."""
        return self._packing.has_slot

    def has(self, which: Which) -> bool:
        """Tell whether an attempt was given something."""
        return self._packing.granted(which) is not None

    def credit(self, room: int, undecided: int) -> int:
        """Say how many messages to ask for, given the free slots and the messages not judged yet.

        One at a time where what runs asks for more than slots: of several, others could be needed elsewhere.
        """
        if self._packing.closed:
            return 0
        return max(0, min(room, 1 - undecided)) if self._packing.asking else room

    def granted(self, which: Which) -> Grant:
        """Give what an attempt was given."""
        return self._packing.granted(which) or Grant()

    async def enter(
        self,
        which: Which,
        asked: Resources | None,
        *,
        still: Callable[[], Awaitable[bool]],
        is_open: Callable[[], bool],
    ) -> bool:
        """Get what a message's task asks for, waiting for it if need be; tells whether it waited.

        `still` is asked now and then whether there is anything to wait for; where not, this returns without. Once
        `is_open` says no, nothing new is taken. Raises NoRoom and TooBig.
        """
        if self.short(asked):
            raise TooBig(str(asked))
        if self._take(which, asked):
            return False
        if self._packing.line:
            raise NoRoom("another task waits for room on this worker")
        if which not in self._back:
            self._note(which, 0.0)
            raise NoRoom("there is no room for it now; another worker may have some")
        self._packing.wait(which)
        while is_open():
            await self._pause(SIGN)
            if self._take(which, asked):
                return True
            if not await still():
                self.leave(which)
                return True
        self.leave(which)
        raise NoRoom("nothing new is taken")

    def short(self, asked: Resources | None) -> Resources | None:
        """Give what a wish lacks even in this worker when it is empty; None where it fits."""
        return self._packing.short(asked)

    async def wait(self, which: Which, asked: Resources | None, *, still: Callable[[], bool]) -> None:
        """Get what a task asks for that this worker holds already and has not begun, however long it takes.

        Without it, once `still` says that there is nothing to wait for, or where this worker has less than that by now.
        """
        if self.short(asked) or self._take(which, asked):
            return
        self._packing.wait(which)
        while still():
            await self._pause(SIGN)
            if self._take(which, asked):
                return
        self.leave(which)

    def count(self, which: Which, asked: Resources | None, gpus: tuple[str, ...]) -> None:
        """Count what an attempt has that was begun by a worker process before this one."""
        self._packing.count(which, asked, gpus)

    def leave(self, which: Which) -> None:
        """Take back what an attempt has, and its place in the line."""
        self._packing.free(which)
        self.stir()

    def stir(self) -> None:
        """Let whoever waits look again."""
        self._freed.set()
        self._changed()

    def back_off(self, which: Which, *, first: float) -> float:
        """Say for how long a message stays away that this worker can't run: longer each time."""
        delay = min(max(2 * self._back.get(which, 0.0), first), LONGEST)
        self._note(which, delay)
        return delay

    def _note(self, which: Which, delay: float) -> None:
        if len(self._back) >= REMEMBERED:  # most of them have gone elsewhere
            self._back.clear()
        self._back[which] = delay

    def _take(self, which: Which, asked: Resources | None) -> bool:
        if self._packing.take(which, asked) is None:
            return False
        self._back.pop(which, None)
        self.stir()  # the next in line may fit beside it, and more may be asked for
        return True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._freed.wait()
        self._freed.clear()
