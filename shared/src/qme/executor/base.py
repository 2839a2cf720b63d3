"""What an executor's author implements (`Executor`, `action`) and is handed (`Task`). No bus and no processes here:
the worker brings both.

The life of an attempt, as an author sees it:

1. `execute(task)` is called when the attempt belongs to this worker. It may run a command with `task.run`, export data
   with `task.update`, and returns a `Result`.
2. **It may be called again for the same attempt**, in a new process, after the worker died or was restarted. `task.run`
   is safe to repeat: the command that it started earlier is found again (running or ended) and never started twice.
   Anything else with an effect on the world needs such a memory of its own (`task.directory` is kept).
3. On a wish to cancel, `cancel(task)` is called beside the running `execute`, which then returns as the command ends.
"""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from qme.contracts.executors import ActionInfo
from qme.contracts.tasks import Outcome, Status, TaskRecord, TaskSpec
from qme.errors import InvalidRequest, QmeError
from qme.executor.attempts import Exit
from qme.executor.capacity import Supply
from qme.settings import ExecutorSettings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SettingsT = TypeVar("SettingsT", bound=ExecutorSettings)


class CommandLost(QmeError):
    """The command was started, or may have been, and how it ended can't be known any more."""

    code = "command_lost"


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended.

    `outcome` is worked out where it is None: cancelled or timeout where the command was ended for that, success for
    returncode 0, else failed. `data` is merged into what was exported already; JSON only.
    """

    returncode: int | None
    outcome: Outcome | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    started: datetime | None = None
    finished: datetime | None = None


#: why a command is ended; it decides the outcome where the command had not ended by itself before
EndReason = Literal["cancel", "timeout", "output"]


class Task(Protocol):
    """An attempt that belongs to this worker."""

    @property
    def spec(self) -> TaskSpec:
        """What was submitted, within the worker's limits; from `confirm` on the program and folder are those judged."""
        ...

    @property
    def record(self) -> TaskRecord:
        """The record as this worker last wrote it; `record.data` is what was exported so far."""
        ...

    @property
    def number(self) -> int:
        """Which attempt of the task it is, from 1."""
        ...

    @property
    def directory(self) -> Path:
        """A folder of this attempt's own (0700), made when first asked for and kept for some days after the end."""
        ...

    @property
    def started(self) -> bool:
        """The command of this attempt was started before: `run` will attach to it, and nothing need be prepared."""
        ...

    @property
    def cancelled(self) -> bool:
        """Somebody wants the task ended."""
        ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        timeout: float | None = None,
    ) -> Exit:
        """Run the attempt's one command, its output going to the task's live output; give how it ended.

        At most once per attempt, whatever dies meanwhile: a repeated call attaches to the first one's command. `env` is
        added to the worker's own cleaned environment. After `timeout` seconds of run time the whole process tree is
        ended. A program that can't be started ends with 127 or 126, as a shell says it; that is no exception.
        Raises CommandLost where nobody can know how it ended. Ends `execute` from within where the task is cancelled
        before the command starts.
        """
        ...

    async def end(self, reason: EndReason) -> None:
        """End the command's whole process tree: TERM, KILL after the grace time. Nothing where none was started."""
        ...

    async def signal(self, number: int) -> int:
        """Send a signal to every process of the command; how many got it. Raises InvalidRequest before its start."""
        ...

    async def confirm(self) -> None:
        """Make sure, right before an effect on the world other than `run`, that the attempt is still to be begun.

        Ends `execute` from within where the task is cancelled, is refused by the worker's rules, or is not this
        worker's any more: a worker that was stopped for a while can't know. Waits while the bus is away.
        """
        ...

    async def alone(self) -> bool:
        """Tell whether no worker that held the attempt before this one can still act upon it.

        True where there was none. After a take-over False until each of them is back, or its host was rebooted: till
        then it may be frozen with an effect under way, so none must be made on the ground that none is seen. Ask again.
        """
        ...

    def follow(
        self, files: Mapping[str, Path], *, first: float, longest: float
    ) -> AbstractAsyncContextManager[None]:
        """Show files that somebody else writes as the task's live output while the context lasts.

        `files` by stream (``stdout``, ``stderr``); they need not exist yet. They are looked at every `first` to
        `longest` seconds, and a last time at the end. At most `log_limit` bytes of each are taken. Safe to repeat:
        what was taken before a restart is not taken twice.
        """
        ...

    async def update(self, *, status: Status | None = None, reason: str | None = None, **data: Any) -> None:
        """Export data, and the status where a scheduler decides it. Written when changed, at most once a second."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that an executor needs on this host, and how it is: a line of `qme doctor`."""

    part: str
    #: ``degraded``: it works without, less well; ``absent``: this host is none where such tasks run, which is no fault
    state: Literal["ok", "degraded", "absent", "problem"]
    #: what was found; where it is not ok, what becomes of tasks meanwhile and what to do
    said: str


class Executor(ABC, Generic[SettingsT]):
    """Runs the commands that its matchstring takes. One instance lives in each worker process."""

    #: lower-case letters, digits and _; also the key of the entry point in the group ``qme.executors``
    name: ClassVar[str]
    #: RE2 pattern searched in the command's words; None takes what nobody else matches
    matchstring: ClassVar[str | None] = None
    #: of several that match, the highest wins, then the first by name
    priority: ClassVar[int] = 0
    #: of several definitions in one pool, the highest version counts
    version: ClassVar[str] = "0"
    #: how a task stands once it is claimed: QUEUED where a scheduler decides when it runs, and `update` tells
    begins: ClassVar[Status] = Status.RUNNING
    #: another worker of the pool may call `execute` for an attempt whose worker is silent (`Task.alone`)
    taken_over: ClassVar[bool] = False
    #: how its commands name a script, which clients then send along as `spec.script`: ``sbatch``, or None
    script: ClassVar[str | None] = None
    #: names in the exported data that are worth showing, in order
    fields: ClassVar[tuple[str, ...]] = ()
    #: a worker that is silent for `lost_after` makes its tasks `lost`, provisionally; False where the commands run on
    #: other machines, under a scheduler: the worker's silence then says nothing about them
    lost_by_silence: ClassVar[bool] = True
    settings_type: ClassVar[type[ExecutorSettings]] = ExecutorSettings

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    def measure(self, registry: CollectorRegistry) -> None:
        """Register metrics of its own (``qme_<name>_…``) beside the worker's; called once, before `open`."""

    def supply(self) -> Supply | None:
        """Tell what this host has for tasks that ask for cpus, memory or GPUs; called once, before `open`.

        None: tasks get slots only, and a submission that asks for more is refused.
        """
        return None

    async def open(self) -> None:
        """Prepare: called once before the first task. What fails here stops the worker, with its message."""

    async def close(self) -> None:
        """Let go of what `open` took."""

    def search_path(self, spec: TaskSpec) -> str:
        """Give the PATH by which a task's program is found."""
        return spec.env.get("PATH") or os.environ.get("PATH", os.defpath)

    async def checks(self) -> Sequence[Check]:
        """Look whether what the executor needs on this host is there, for `qme doctor`; nothing was opened before.

        Quick, whatever hangs, and without an effect. What fails is a check's answer, not an exception.
        """
        return ()

    @abstractmethod
    async def execute(self, task: Task) -> Result:
        """Run an attempt to its end. May be called again for the same attempt (see the module's docstring)."""

    async def cancel(self, task: Task) -> None:
        """Make the running `execute` come to its end. May be called more than once."""
        await task.end("cancel")

    async def signal(self, task: Task, number: int) -> str:
        """Send a signal to what runs of a task, which goes on; tell what was done."""
        count = await task.signal(number)
        return f"signal {number} sent to {count} process{'' if count == 1 else 'es'}"


@dataclass(frozen=True, slots=True)
class Held:
    """What an action works on: a task of this worker's pool, running or ended."""

    record: TaskRecord
    spec: TaskSpec | None
    #: folder of the current attempt where this worker ran it
    directory: Path | None


Action = Callable[..., Awaitable[Any]]
_MARK = "__qme_action__"


def action(*, changes: bool = False) -> Callable[[Action], Action]:
    """Offer a method ``async def name(self, held: Held, **args: str) -> JSON`` as an action of the executor.

    Its name is the action's name, its docstring's first line the help text. `changes` says only the task's owner or
    an operator may call it.
    """

    def mark(method: Action) -> Action:
        setattr(method, _MARK, changes)
        return method

    return mark


#: actions of every executor; clients answer the reading ones from the record and the log stream
COMMON_ACTIONS: tuple[ActionInfo, ...] = (
    ActionInfo(name="status", help="Show the task's status, outcome and exit code."),
    ActionInfo(name="output", help="Print what the command wrote to its standard output."),
    ActionInfo(name="error", help="Print what the command wrote to its standard error."),
    ActionInfo(name="outputs", help="Give standard output and standard error as one JSON object."),
    ActionInfo(name="cancel", help="End the task.", changes=True),
)


def actions_of(executor: type[Executor[Any]]) -> tuple[ActionInfo, ...]:
    """List an executor's actions: the common ones, and its own, which may replace a common one."""
    found = {info.name: info for info in COMMON_ACTIONS}
    for name, method in inspect.getmembers(executor, callable):
        changes = getattr(method, _MARK, None)
        if changes is None:
            continue
        help_text = (inspect.getdoc(method) or "").strip().split("\n")[0]
        found[name] = ActionInfo(name=name, help=help_text, changes=changes, remote=True)
    return tuple(found.values())


def find_action(executor: Executor[Any], name: str) -> Action:
    """Give the bound method of an executor's own action. Raises InvalidRequest, naming those there are."""
    method = getattr(executor, name, None)
    if method is None or not hasattr(method, _MARK):
        names = ", ".join(info.name for info in actions_of(type(executor)))
        raise InvalidRequest(f"{executor.name} has no action {name!r}; it has {names}")
    found: Action = method
    return found


def is_changing(method: Action) -> bool:
    """Tell whether an action changes something, so that only the task's owner or an operator may call it."""
    return bool(getattr(method, _MARK, False))
