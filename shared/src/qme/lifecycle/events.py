"""What can happen to a task (events) and what must be done about it (effects): plain data, no rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qme.contracts.arrays import Progress
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Holder, Outcome, Status, WaitingFor


# -- events ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Released:
    """The task may be claimed. `attempt` is the one that was judged; None: whichever stands."""

    at: datetime
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Unmet:
    """A parent (by uuid) has ended in another way than the task waits for: it will never start."""

    attempt: int
    parent: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker takes the attempt; `host` and `boot` say where it runs."""

    worker: str
    nonce: str
    attempt: int
    at: datetime
    host: str | None = None
    boot: str | None = None
    #: devices that are set aside for it
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unfit:
    """No living worker can ever run the attempt, for this reason; it waits on, as one that can may come."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A worker takes the attempt from another one of the pool, which is silent: `over` is the nonce of its claim."""

    claim: Claimed
    over: str


@dataclass(frozen=True, slots=True)
class Started:
    """The claimed attempt has begun. `status` is RUNNING, or QUEUED where a scheduler still holds it."""

    attempt: int
    at: datetime
    status: Status = Status.RUNNING
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progressed:
    """New exported data, merged key by key; `status` as in `Started`."""

    attempt: int
    data: Mapping[str, Any]
    status: Status | None = None
    reason: str | None = None
    started: datetime | None = None
    #: who reports: counts for nothing once another worker has taken the attempt over
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the task ended. `attempt` is the one they saw."""

    by: str
    at: datetime
    attempt: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt has ended."""

    attempt: int
    outcome: Outcome
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    started: datetime | None = None
    #: as in `Progressed`
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """How an array stands; with an outcome all of its tasks have ended, or none can be made."""

    outcome: Outcome | None
    at: datetime
    progress: Progress
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Vanished:
    """The worker that claimed the attempt has been silent for too long; a guess, and marked as one."""

    attempt: int
    worker: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The worker still has the attempt: it was given up for lost, or the bus has forgotten its claim.

    `status` and `started` say how the attempt stands; a started one is not claimed by anybody else.
    """

    worker: str
    nonce: str
    attempt: int
    at: datetime
    status: Status = Status.RUNNING
    started: datetime | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = None
    boot: str | None = None
    gpus: tuple[str, ...] = ()
    #: from whom it was taken over, as the claim said that is made again
    earlier: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class Rerun:
    """Somebody wants another attempt. `force` takes a provisionally lost one too."""

    by: str
    at: datetime
    attempt: int | None = None
    force: bool = False
    #: what it waits for once more, as its first attempt did
    waits: WaitingFor | None = None
    #: there is room for it: else it waits for its turn
    at_once: bool = True


Event = (
    Released
    | Unmet
    | Unfit
    | Claimed
    | TakenOver
    | Started
    | Progressed
    | CancelAsked
    | Ended
    | Gathered
    | Vanished
    | Returned
    | Rerun
)


# -- effects ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Enqueue:
    """Publish the queue message of this attempt (submitters only)."""

    key: TaskKey
    attempt: int


@dataclass(frozen=True, slots=True)
class Dequeue:
    """Purge the task's queue message, if there is one."""

    key: TaskKey


@dataclass(frozen=True, slots=True)
class Nudge:
    """Tell the worker to read the record again; it finds the wish to cancel there."""

    key: TaskKey
    worker: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The task has ended: count it, tell whoever waits. `corrected`: an end of it was counted before, and was wrong."""

    key: TaskKey
    outcome: Outcome
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt waits for its release at `not_before` (a submitter's janitor does that)."""

    key: TaskKey
    not_before: datetime


Effect = Enqueue | Dequeue | Nudge | Finish | Retry
