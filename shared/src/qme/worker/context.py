"""What the parts of one worker share: who it is, its connections, the attempts it holds. No behaviour but counting."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qme.bus.port import Bus
from qme.contracts.executors import Pause
from qme.contracts.subjects import TaskKey
from qme.executor.base import Executor
from qme.executor.commands import Keeper
from qme.executor.spool import Spool
from qme.observe.metrics import WorkerMetrics
from qme.settings import Settings
from qme.worker.admission import Admission
from qme.worker.ahead import Ahead
from qme.worker.logs import LogShipper
from qme.worker.memory import MemoryWatch
from qme.worker.packing import Packing
from qme.worker.records import Records
from qme.worker.room import Room

if TYPE_CHECKING:
    from qme.worker.attempt import Attempt

#: an attempt of a task: uuid and number
Which = tuple[str, int]

#: attempts that have ended and are not reported yet, beyond which nothing new is taken: the bus is slow or away
REPORTING = 64


@dataclass
class Context:
    """One worker."""

    settings: Settings
    executor: Executor[Any]
    pool: str  #: token
    account: str  #: operating-system account that commands run as
    worker: str
    bus: Bus
    spool: Spool
    keeper: Keeper
    logs: LogShipper
    records: Records
    metrics: WorkerMetrics
    #: what this worker holds; None while it is being claimed
    held: dict[Which, Attempt | None] = field(default_factory=dict)
    #: messages handed out to us that `held` does not show yet
    arriving: int = 0
    #: why nothing new can be taken right now
    trouble: str | None = None
    #: an operator's word that nothing new is to be taken
    pause: Pause | None = None
    #: the bus has just come back, and may have forgotten whose its tasks are: nothing new is taken for a moment
    settling: bool = False
    #: the bus is to ask for more: set where there may be room again, cleared by the bus
    more: asyncio.Event = field(default_factory=asyncio.Event)
    memory: MemoryWatch = field(default_factory=MemoryWatch)
    room: Room = field(init=False)
    admission: Admission = field(init=False)
    ahead: Ahead = field(init=False)
    #: what is held although its command has ended: its report is on its way
    reporting: set[Which] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.room = Room(self.spool.path)
        self.admission = Admission(Packing(self.slots, self.executor.supply()), self.more.set)
        self.ahead = Ahead(self.slots)

    @property
    def slots(self) -> int:
        """Tasks that may run at a time."""
        return int(self.executor.settings.slots)

    @property
    def paused(self) -> str | None:
        """Why nothing new is taken, for people."""
        if self.trouble or self.pause is None:
            return self.trouble
        said = self.pause.sentence
        return said.replace("draining", "drained", 1) if self.drained else said

    @property
    def drained(self) -> bool:
        """Told to drain, and nothing is held any more."""
        return self.pause is not None and self.pause.drain and not self.held and not self.arriving

    @property
    def busy(self) -> int:
        """Tasks that run, or are about to."""
        return len(self.held) - len(self.reporting)

    def credit(self) -> int:
        """Messages that can be taken in now. What was adopted may be more than there are slots."""
        if self.paused or self.settling or len(self.reporting) >= self.slots + REPORTING:
            return 0
        ahead = 0 if self.admission.asking else self.ahead.count
        room = max(0, self.slots + ahead - self.busy - self.arriving)
        undecided = self.arriving + self.busy - len(self.admission)
        return self.admission.credit(room, undecided)

    def finished(self, which: Which) -> None:
        """Let others have what an attempt had been given whose command has ended: its report needs none of it."""
        if which in self.held:
            self.reporting.add(which)
            self._free(which)

    def let_go(self, which: Which) -> None:
        """Hold an attempt no more; what it had been given is free."""
        self.held.pop(which, None)
        self.reporting.discard(which)
        self._free(which)

    def _free(self, which: Which) -> None:
        had_slot = self.admission.has(which)
        self.admission.leave(which)
        if had_slot:
            self.ahead.ended()
        self.metrics.active.set(self.busy)

    def key(self, uuid: str) -> TaskKey:
        """Where a task of this worker lives."""
        return TaskKey(self.executor.name, self.pool, uuid)

    def attempts(self) -> list[Attempt]:
        """The attempts that are under way."""
        return [attempt for attempt in self.held.values() if attempt is not None]
