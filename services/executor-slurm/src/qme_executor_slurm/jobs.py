"""What is known of a job that was submitted: its parts, how each stands, and the job as a whole. Pure data.

Of all this, only the id, the times of the call and the mark have to survive a restart of the worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import states
from qme_executor_slurm.states import Ending


@dataclass(frozen=True, slots=True)
class Part:
    """A job, an element of an array, or one job of a heterogeneous one."""

    #: Slurm's name, ``7_3``
    name: str
    #: when a list last showed it; at first, when it was submitted
    seen: datetime
    state: str = "PENDING"
    reason: str | None = None
    partition: str | None = None
    nodes: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    restarts: int = 0
    #: undone only by a controller that shows it alive again
    ending: Ending | None = None
    #: since when it may be run again, after a preemption or node failure
    provisional: datetime | None = None
    #: answered cycles in a row that found it nowhere, and when the first was
    misses: int = 0
    missing: datetime | None = None

    @property
    def status(self) -> Status:
        """How it stands."""
        if self.ending:
            return self.ending.status
        found = states.meaning(self.state)
        return Status.QUEUED if found and found.status is Status.QUEUED else Status.RUNNING

    @property
    def held(self) -> bool:
        """It waits for somebody to act, or for a time, not for its turn."""
        found = states.meaning(self.state)
        waits = self.status is Status.QUEUED and self.reason in states.HELD_REASONS
        return waits or bool(found and found.held)


@dataclass(frozen=True, slots=True)
class Job:
    """What one sbatch brought about."""

    id: int
    #: just before sbatch was called
    submitted: datetime
    #: its `sbatch.marker`, as uuid and attempt
    mark: tuple[str, int]
    parts: Mapping[str, Part] = field(default_factory=dict)
    #: when sbatch named it; None: it was found by its marker
    answered: datetime | None = None
    #: states that were met and are not known, for a counter
    unknown: frozenset[str] = frozenset()

    @property
    def ending(self) -> Ending | None:
        """How it ended, once every part has: the worst of their endings."""
        endings = [part.ending for part in self.parts.values() if part.ending]
        return states.worst(endings) if endings and len(endings) == len(self.parts) else None

    @property
    def status(self) -> Status:
        """How it stands: queued until a part of it has been started."""
        if ending := self.ending:
            return ending.status
        queued = all(part.status is Status.QUEUED for part in self.parts.values())
        return Status.QUEUED if queued else Status.RUNNING

    @property
    def started(self) -> datetime | None:
        """When the first part started."""
        return min(_times(part.started for part in self.parts.values()), default=None)

    @property
    def ended(self) -> datetime | None:
        """When the last part ended, once all have."""
        return max(_times(part.ended for part in self.parts.values()), default=None) if self.ending else None

    def counts(self) -> dict[str, int]:
        """Count the parts: ``total``, those that are ``queued`` and ``running``, and each outcome there is."""
        found = Counter(part.ending.outcome if part.ending else part.status for part in self.parts.values())
        return {"total": len(self.parts), **{key.value: found[key] for key in _COUNTED if found[key]}}


#: in the order in which people want to read them
_COUNTED = (Status.QUEUED, Status.RUNNING, *Outcome)


def _times(times: Iterable[datetime | None]) -> list[datetime]:
    return [time for time in times if time]
