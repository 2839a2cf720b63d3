"""Requests and replies of the control plane and of workers' actions. Frozen; unknown keys are ignored on read.

Every request carries an id and an expiry: one that was buffered through an outage is refused, not carried out late.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from qme.contracts.arrays import Array
from qme.contracts.resources import Resources
from qme.contracts.tasks import Parent, RetryPolicy, SentFile, TaskRecord

#: bytes of one request on the control plane that names several tasks; one for a single task holds its files as well
MAX_REQUEST = 256 * 1024
#: bytes of one stored spec, sent files included
MAX_SPEC = 768 * 1024
#: bytes of all sent files of one task together
MAX_FILES = 512 * 1024
#: bytes of one stored record
MAX_RECORD = 64 * 1024
#: tasks in one request
MAX_ITEMS = 1000
#: tasks that one task may wait for
MAX_PARENTS = 10_000
#: share of a storage limit of the bus from which new tasks are refused
FULL = 0.9

#: header by which a dashboard names the person it asks for: the request then counts as that person's
HEADER_BEHALF = "Qme-On-Behalf-Of"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Request(_Wire):
    """What every request has."""

    id: str
    expires: datetime
    client: str = ""  #: host and version of the client, for the audit trail


class Submission(_Wire):
    """One task to be submitted; the uuid is the client's own, so a repeated request makes no second task."""

    uuid: str
    argv: tuple[str, ...]
    shell: bool = False
    cwd: str | None = None
    cwd_given: bool = False
    umask: int | None = None
    env: dict[str, str] = {}
    files: tuple[SentFile, ...] = ()
    stdin: SentFile | None = None
    script: SentFile | None = None
    timeout: float | None = None
    resources: Resources | None = None
    priority: int = 0
    array: Array | None = None
    retry: RetryPolicy = RetryPolicy()
    message: str | None = None
    labels: dict[str, str] = {}
    group: str | None = None
    name: str | None = None
    after: tuple[Parent, ...] = ()
    key: str | None = None
    executor: str | None = None
    pool: str | None = None
    host: str | None = None


class SubmitRequest(Request):
    """Submit several tasks; each is answered by itself."""

    tasks: tuple[Submission, ...]


class Target(_Wire):
    """A task and the attempt that the user saw: at another attempt the request answers "already"."""

    uuid: str
    attempt: int | None = None


class CancelTasks(Request):
    """End tasks that are queued or running."""

    targets: tuple[Target, ...]
    reason: str | None = None


class RerunTasks(Request):
    """Start another attempt of tasks that have ended."""

    targets: tuple[Target, ...]
    force: bool = False  #: also of a provisional `lost`


class ClearTasks(Request):
    """Remove ended tasks with their specs and output."""

    targets: tuple[Target, ...]
    cancel: bool = False  #: end those that run first
    force: bool = False  #: also records that can't be read


class MatchRequest(Request):
    """Explain where a command would go."""

    argv: tuple[str, ...]
    shell: bool = False
    executor: str | None = None
    pool: str | None = None
    others: tuple[tuple[str, ...], ...] = ()  #: more commands, of which only `script` is to be told


class ExecutorRequest(Request):
    """Forget or approve an executor's definition, or have it take tasks again."""

    executor: str
    pool: str | None = None


class PauseExecutor(ExecutorRequest):
    """Have the workers of an executor take nothing new."""

    reason: str


class Result(_Wire):
    """What became of one task in a request. `error` is set, or the rest."""

    uuid: str
    taskid: str | None = None
    record: TaskRecord | None = None
    note: str | None = None  #: a sentence for stderr, such as "asked; runs on W, last seen 3 s ago"
    already: bool = False  #: nothing was left to do
    error: dict[str, Any] | None = None


class Results(_Wire):
    """The reply to a request on tasks, in the request's order."""

    results: tuple[Result, ...]


class Candidate(_Wire):
    """One definition that routing looked at, and what it concluded."""

    executor: str
    pool: str
    matchstring: str | None
    priority: int
    verdict: str
    online: int = 0  #: workers alive
    seen: datetime | None = None  #: when the submitter last heard of one


class MatchReply(_Wire):
    """Where a command would go and why."""

    command: str
    executor: str | None
    pool: str | None
    why: str
    script: str | None = None  #: how the commands of that executor name a script (`Definition.script`)
    scripts: tuple[str | None, ...] = ()  #: the same for each of the `others`
    candidates: tuple[Candidate, ...]


class ActionRequest(_Wire):
    """Ask the worker that holds a task to do something, or nudge it to read the record again (action null)."""

    uuid: str
    attempt: int | None = None
    action: str | None = None
    args: dict[str, Any] = {}
    expires: datetime


class Asked(_Wire):
    """One line of the audit trail of requests: who asked a service for what, from where, and what came of it."""

    at: datetime
    id: str
    verb: str
    user: str  #: whose rights counted
    operator: bool = False
    asked_by: str = ""  #: token of whoever sent it: a dashboard asks for others
    client: str = ""
    executor: str | None = None
    pool: str | None = None
    reason: str | None = None  #: what the asker said it was for
    done: tuple[str, ...] = ()
    refused: dict[str, str] = {}  #: uuid to the reason's code
    #: why nothing of it was done at all: code and sentence
    problem: str | None = None
