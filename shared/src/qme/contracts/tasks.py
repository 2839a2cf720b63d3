"""The task as it is stored: what was submitted (TaskSpec) and what became of it (TaskRecord). No behaviour here.

Records are read, changed and written by programs of several versions at once, so unknown keys are kept
(``extra="allow"``): a reader that drops what it does not know would destroy what a newer writer wrote.
Only `qme.lifecycle` decides what a record's status becomes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from qme.contracts.arrays import Array, Element, Progress
from qme.contracts.bounds import Count, Moment
from qme.contracts.resources import Resources
from qme.contracts.subjects import TaskKey

SCHEMA = 1


class Status(StrEnum):
    """How a task stands, for people; no protocol step reads it (`claim` and `released` are for that)."""

    QUEUED = "queued"  #: not started: waiting for release, a worker, or a scheduler such as Slurm
    RUNNING = "running"  #: a worker has started it
    COMPLETE = "complete"  #: it ended; `outcome` says how
    CANCELLED = "cancelled"  #: it ended because somebody asked for it
    LOST = "lost"  #: nobody knows how it ended; may be corrected when its worker comes back


class Outcome(StrEnum):
    """How a task ended."""

    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAIL = "node_fail"
    DEADLINE = "deadline"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    SUBMIT_FAILED = "submit_failed"
    LOST = "lost"


class Step(StrEnum):
    """What happens to a task in one change of its record; each happens once to an attempt, unless it was given up."""

    SUBMITTED = "submitted"  #: its record was made
    STARTED = "started"  #: the attempt runs
    RETRIED = "retried"  #: another attempt begins by itself
    RERUN = "rerun"  #: another attempt begins because somebody asked for it
    ENDED = "ended"  #: the task has this outcome now


class _Stored(BaseModel):
    model_config = ConfigDict(
        extra="allow", frozen=True, serialize_by_alias=True, populate_by_name=True, defer_build=True
    )


class Holder(_Stored):
    """A worker that held an attempt, and where: for whoever has to know if it can still act."""

    worker: str
    host: str | None = None
    #: of its host when it claimed
    boot: str | None = None


class Claim(Holder):
    """A worker's right to run the current attempt."""

    #: new for every try to claim: tells the worker whether a stored claim is the one it just wrote
    nonce: str
    at: Moment
    #: devices that were set aside for it, by name
    gpus: tuple[str, ...] = ()
    #: those from whom the attempt was taken over, as they had fallen silent
    earlier: tuple[Holder, ...] = ()


class CancelRequest(_Stored):
    """The wish to end a task; stays in the record until the worker has fulfilled it."""

    by: str
    at: Moment
    reason: str | None = None


class RetryPolicy(_Stored):
    """When an attempt that ended badly is followed by another one."""

    limit: int = 0
    on: tuple[Outcome, ...] = (Outcome.FAILED, Outcome.TIMEOUT, Outcome.LOST, Outcome.NODE_FAIL)
    delay: float = 10.0  #: seconds before the first retry
    backoff: float = 2.0  #: factor from one delay to the next


class On(StrEnum):
    """How a parent has to end before a task that waits for it may start."""

    SUCCESS = "success"
    ANY = "any"
    FAIL = "fail"  #: any end but success


class Parent(_Stored):
    """A task that another one waits for."""

    uuid: str
    on: On = On.SUCCESS


class WaitingFor(_Stored):
    """What a task waits for, or has waited for: how many parents, and the first of them. The spec has all."""

    count: int
    parents: tuple[Parent, ...] = ()


class Attempt(_Stored):
    """An earlier attempt of a task: a line of history, without output (the log stream has that by attempt)."""

    attempt: Count
    outcome: Outcome
    worker: str | None = None
    started: Moment | None = None
    finished: Moment | None = None
    returncode: int | None = None
    reason: str | None = None


class SentFile(_Stored):
    """A small file that travels with the task."""

    name: str  #: relative path inside the task's folder
    content: str  #: base64
    mode: int = 0o600
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of the file, if its content is base64."""
        return len(self.content) * 3 // 4 - self.content[-2:].count("=")


class TaskSpec(_Stored):
    """What was submitted; written once by a submitter, read by submitters and the pool's workers only."""

    schema_: Annotated[int, Field(validation_alias="schema", serialization_alias="schema")] = SCHEMA
    uuid: str
    user: str  #: authenticated name of who asked
    argv: tuple[str, ...]
    shell: bool = False  #: argv is one word that /bin/sh -c runs
    cwd: str | None = None
    cwd_given: bool = False  #: the user named it, so a missing one is an error
    umask: int | None = None
    env: dict[str, str] = {}
    files: tuple[SentFile, ...] = ()
    stdin: SentFile | None = None
    #: what the command names as its script and its executor wants sent along; used where the worker has no equal one
    script: SentFile | None = None
    timeout: float | None = None  #: seconds of run time
    resources: Resources | None = None  #: what it asks for beside a slot
    priority: int = 0  #: higher ones first
    array: Array | None = None  #: it is the head of an array: its tasks are made of this, and it never runs
    element: Element | None = None  #: it is one of an array's tasks
    retry: RetryPolicy = RetryPolicy()
    message: str | None = None
    labels: dict[str, str] = {}
    group: str | None = None  #: tasks that people name together, as @GROUP
    name: str | None = (
        None  #: within its group, as a workflow's file has it; the newest task of a name counts
    )
    after: tuple[Parent, ...] = ()  #: it waits for their ends
    key: str | None = None  #: the user's own deduplication key
    host: str | None = None  #: where it was submitted

    @property
    def command(self) -> str:
        """The words joined by one space: what matchstrings see and people read (lossy on purpose)."""
        return " ".join(self.argv)


class TaskRecord(_Stored):
    """What became of a task; the document that `qme get` prints."""

    schema_: Annotated[int, Field(validation_alias="schema", serialization_alias="schema")] = SCHEMA
    uid: str
    executor: str
    pool: str
    command: str
    user: str
    message: str | None = None
    labels: dict[str, str] = {}
    group: str | None = None
    name: str | None = None
    after: WaitingFor | None = None  #: its parents, as long as the record lasts (for whoever draws the graph)
    status: Status = Status.QUEUED
    outcome: Outcome | None = None
    reason: str | None = None  #: one sentence on why it stands as it does
    attempt: Count = 1
    created: Moment
    started: Moment | None = None
    finished: Moment | None = None
    worker: str | None = None
    claim: Claim | None = None
    released: Moment | None = None  #: since when a worker may claim it; null: waiting
    not_before: Moment | None = None  #: a retry waits until then
    waiting_for: WaitingFor | None = None  #: it is not released before these have ended as they should
    unmet: str | None = None  #: uuid of the parent that ended otherwise, for which this task was cancelled
    cancel: CancelRequest | None = None
    provisional: bool = False  #: `lost` concluded from silence alone
    corrected: bool = (
        False  #: it was given up for lost and was not: that end has been told, and counted, already
    )
    resources: Resources | None = None
    priority: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 0
    array: Progress | None = None  #: how the array stands whose head this is
    element: Element | None = None
    retry: RetryPolicy = RetryPolicy()
    retries: Count = 0  #: retries used so far
    cwd: str | None = None
    env: tuple[str, ...] = ()  #: names only
    files: dict[str, str] = {}  #: name to sha256 of what was sent along
    attempts: tuple[Attempt, ...] = ()
    data: dict[str, Any] = {}  #: what the executor exports

    @property
    def uuid(self) -> str:
        """The task's uuid (36 characters from the right of its id)."""
        return self.uid[-36:]

    @property
    def key(self) -> TaskKey:
        """Where the task lives on the bus."""
        return TaskKey(self.executor, self.pool, self.uuid)

    @property
    def due(self) -> bool:
        """A queue message belongs on the bus, and a worker may claim the task, exactly while this holds."""
        return self.released is not None and self.claim is None

    @property
    def waits(self) -> bool:
        """A submitter has to release it first: its parents, a retry's delay, or its turn stand before that."""
        return self.released is None and self.claim is None and not self.ended

    @property
    def ended(self) -> bool:
        """The task has an outcome (a `lost` one may still be corrected)."""
        return self.outcome is not None


class QueueMessage(_Stored):
    """What a worker pulls. The record as it was released saves reading it: a claim at its revision proves it true."""

    uuid: str
    attempt: int
    record: TaskRecord | None = None
    revision: int = 0


class LastTask(_Stored):
    """The task that a user submitted last, from any host; key is the user's token, written by submitters."""

    uuid: str
    at: Moment


#: headers on each write of a record, republished without the body as the event of that change
HEADER_STATUS = "Qme-Status"
HEADER_OUTCOME = "Qme-Outcome"
HEADER_ATTEMPT = "Qme-Attempt"
HEADER_BY = "Qme-By"
HEADER_CLAIM = "Qme-Claim"
#: present where an end is a guess, and where one that was told before is taken back or replaced
HEADER_PROVISIONAL = "Qme-Provisional"
HEADER_CORRECTED = "Qme-Corrected"
#: present while a task waits for its release: for what, in a word
HEADER_WAITS = "Qme-Waits"
#: present while a task is released that no living worker can ever run
HEADER_UNFIT = "Qme-Unfit"
#: the steps that a change takes, with commas, or that it takes none; absent where its writer knows none. How long the
#: task had waited when it started and how long it had run when it ended, in seconds
HEADER_STEPS = "Qme-Steps"
NO_STEPS = "none"
HEADER_WAITED = "Qme-Waited"
HEADER_RAN = "Qme-Ran"
#: header of an event in the audit trail: the record's revision that it tells of
HEADER_REVISION = "Qme-Revision"
#: header of a chunk of output: its byte offset
HEADER_OFFSET = "Qme-Offset"


def event_headers(record: TaskRecord, by: str) -> dict[str, str]:
    """Headers that tell of a record's state; `by` is the user or worker who made the change."""
    headers = {HEADER_STATUS: record.status.value, HEADER_ATTEMPT: str(record.attempt), HEADER_BY: by}
    if record.outcome is not None:
        headers[HEADER_OUTCOME] = record.outcome.value
    if record.claim is not None:
        headers[HEADER_CLAIM] = record.claim.worker
    if record.waits:
        headers[HEADER_WAITS] = "parents" if record.waiting_for else "time" if record.not_before else "turn"
    if record.due and record.resources is not None and record.reason is not None:
        headers[HEADER_UNFIT] = "1"
    if record.provisional:
        headers[HEADER_PROVISIONAL] = "1"
    if record.corrected:
        headers[HEADER_CORRECTED] = "1"
    return headers
