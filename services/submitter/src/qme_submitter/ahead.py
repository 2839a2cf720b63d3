"""How many tasks are released ahead of the workers of each executor and pool, and how many may be: the window.

Every submitter keeps its own count, from the changes of records as the bus republishes them, and puts it right by a
look at the queue now and then. It is approximate: of several submitters each may let in as many as it writes at once
before it hears of the others'. Decides only whether there is room; whose turn it is, is for `turns`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from qme.bus.port import Bus, Message
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import HEADER_CLAIM, HEADER_STATUS, HEADER_UNFIT, HEADER_WAITS, Status
from qme.errors import InvalidRequest, QmeError
from qme.observe.logging import get_logger
from qme_submitter.registry import Registry
from qme_submitter.turns import Place

log = get_logger(__name__)

#: seconds of work that lie ready at most: longer than it takes until somebody else leads, where work is short
LEAD = 10.0
#: tasks that lie ready for each slot, and beside them, however fast they are taken
PER_SLOT, BESIDE = 4, 64
#: tasks that lie ready beside one for each slot, however slowly they are taken; and where no worker is alive
LEAST, NOBODY = 4, 32
#: share of the window up to which a task is released as it is accepted: what is above is for those that wait already
FRONT = 0.75
#: seconds for which nobody is let in past others once it is heard that somebody had to wait
BARRED = 1.0
#: seconds between two looks at the queue, and before a look that failed is repeated
RECOUNT, AGAIN = 60.0, 1.0


class Ahead:
    """The counts of one submitter; `run` it beside its use."""

    def __init__(self, bus: Bus, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._registry = registry
        self._clock = clock
        self._due: dict[Place, set[str]] = {}
        self._taken: dict[Place, deque[float]] = {}
        self._barred: dict[Place, float] = {}
        #: tasks that were released and that no living worker can run
        self._unfit: set[str] = set()
        #: tells whether somebody waits for a turn at a place: known for sure to whoever leads
        self.others_wait: Callable[[Place], bool] = lambda place: False
        #: what changed while the queue was being looked at: uuid to whether it is due
        self._meanwhile: dict[tuple[Place, str], bool] | None = None
        self._doubt = asyncio.Event()

    # -- how many ------------------------------------------------------------------------------------------------------
    def window(self, place: Place) -> int:
        """Tell how many may lie ready: what was taken in the last seconds, within bounds.

        Where tasks are short, many have to lie ready, or workers would wait for their release; where they are long,
        everybody who comes later would wait for those that lie there.
        """
        slots = self._registry.slots(*place)
        if not slots:
            return NOBODY
        taken, since = self._taken.get(place, deque()), self._clock() - LEAD
        while taken and taken[0] < since:
            taken.popleft()
        return max(slots + LEAST, min(len(taken), PER_SLOT * slots + BESIDE))

    def room(self, place: Place) -> int:
        """Tell how many more may be released."""
        return max(0, self.window(place) - len(self._due.get(place, ())))

    def enter(self, key: TaskKey) -> bool:
        """Take room for a task as it is accepted, if there is some and nobody waits for it."""
        place = key.executor, key.pool
        barred = self.others_wait(place) or self._clock() < self._barred.get(place, 0.0)
        if barred or len(self._due.get(place, ())) >= FRONT * self.window(place):
            return False
        self.take(key)
        return True

    def take(self, key: TaskKey) -> None:
        """Count a task that is being released."""
        self._set((key.executor, key.pool), key.uuid, due=True)

    def leave(self, key: TaskKey) -> None:
        """Count a task no more: it was not released after all."""
        self._set((key.executor, key.pool), key.uuid, due=False)

    # -- what becomes known --------------------------------------------------------------------------------------------
    def hear(self, event: Message | None) -> None:
        """Take in a change of a record as it is republished; None: some may have been missed."""
        if event is None:
            self._doubt.set()
            return
        try:
            key = TaskKey.parse(event.subject.removeprefix(subjects.change_subject("")))
        except InvalidRequest:
            return
        place, headers = (key.executor, key.pool), event.headers
        waits, claimed = headers.get(HEADER_WAITS), HEADER_CLAIM in headers
        if waits == "turn":
            self._barred[place] = self._clock() + BARRED
        was_due = key.uuid in self._due.get(place, ())
        # Its worker may be gone for good, and it must not keep the room of those that can run.
        unfit = HEADER_UNFIT in headers
        (self._unfit.add if unfit else self._unfit.discard)(key.uuid)
        due = headers.get(HEADER_STATUS) == Status.QUEUED and not claimed and waits is None and not unfit
        self._set(place, key.uuid, due=due)
        if was_due and claimed:
            limit = PER_SLOT * self._registry.slots(*place) + BESIDE
            taken = self._taken.setdefault(place, deque())
            taken.append(self._clock())
            while len(taken) > limit:
                taken.popleft()

    async def run(self) -> None:
        """Look at the queue, at first and now and then, until cancelled."""
        while True:
            self._doubt.clear()
            pause = RECOUNT
            try:
                await self.recount()
            except QmeError as error:
                log.warning("ahead.not_counted", error=error.message)
                pause = AGAIN
            try:
                async with asyncio.timeout(pause):
                    await self._doubt.wait()
            except TimeoutError:
                continue

    async def recount(self) -> None:
        """Count what lies in the queue. Raises what the bus raises."""
        self._meanwhile = {}
        try:
            queued = await self._bus.subjects(subjects.TASKS, subjects.EVERY_QUEUE)
            found: dict[Place, set[str]] = {}
            for subject in queued:
                executor, pool, uuid = subject.split(".")[2:5]
                if uuid not in self._unfit:
                    found.setdefault((executor, pool), set()).add(uuid)
            self._due = found
            changed, self._meanwhile = self._meanwhile, None
            for (place, uuid), due in changed.items():
                self._set(place, uuid, due=due)
        finally:
            self._meanwhile = None

    def _set(self, place: Place, uuid: str, *, due: bool) -> None:
        if self._meanwhile is not None:
            self._meanwhile[place, uuid] = due
        if due:
            self._due.setdefault(place, set()).add(uuid)
        elif place in self._due:
            self._due[place].discard(uuid)
