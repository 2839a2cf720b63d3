"""What is asked of every executor, one function each; what fails raises AssertionError with a sentence for its author.

What worker and keeper promise by themselves (one start for each attempt, whatever dies) is not asked again here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import re2

from qme.conformance.stage import Stage
from qme.contracts.subjects import TaskKey, executor_name
from qme.contracts.tasks import Outcome, TaskRecord
from qme.executor.base import Check as Doctor
from qme.executor.base import Executor, actions_of
from qme.settings import ExecutorSettings, options

Words = tuple[str, ...]
#: what tells one beginning from another, in the exported data; and seconds within which most export it
_NAMES = {"pid", "jobid"}
_SOON = 10.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An executor, and commands by which it can be tried on this host."""

    executor: type[Executor[Any]]
    settings: ExecutorSettings
    #: where everything lies that the trial makes
    home: Path
    #: commands that it takes and that end well
    succeed: Sequence[Words] = ()
    #: such as end badly
    fail: Sequence[Words] = ()
    #: such as run until they are cancelled
    stay: Sequence[Words] = ()
    #: commands that are not for it
    leaves: Sequence[Words] = ()
    #: seconds that a command may take to start or to end
    patience: float = 60.0

    def made(self) -> Executor[Any]:
        """Make the executor as its worker does."""
        return self.executor(self.settings)


class NotTried(Exception):
    """There is no command for this check; the message says which."""


async def describes_itself(trial: Trial) -> None:
    """Name, pattern, fields, settings and actions are such as others can use."""
    kind = trial.executor
    executor_name(kind.name)
    if kind.matchstring is not None:
        try:
            re2.compile(kind.matchstring)
        except re2.error as error:
            raise AssertionError(f"matchstring {kind.matchstring!r}: RE2 takes it not: {error}") from None
    bare = [key for key, known in options(kind.settings_type).items() if not known.summary]
    _that(not bare, f"settings without a line of help: {', '.join(bare)}; declare them with `option`")
    mute = [info.name for info in actions_of(kind) if not info.help]
    _that(not mute, f"actions without a docstring: {', '.join(mute)}")


async def takes_its_commands(trial: Trial) -> None:
    """The pattern matches the commands that it is for, and not the others."""
    pattern = trial.executor.matchstring
    if pattern is None:
        raise NotTried("it has no matchstring: it takes what nobody else matches")
    found = re2.compile(pattern)
    for words in (*trial.succeed, *trial.fail, *trial.stay):
        _that(found.search(" ".join(words)), f"matchstring {pattern!r} does not take {' '.join(words)!r}")
    for words in trial.leaves:
        _that(not found.search(" ".join(words)), f"matchstring {pattern!r} takes {' '.join(words)!r}")


async def ends_well(trial: Trial) -> None:
    """A command that ends well is a success, and shows what `fields` promises."""
    for words in _needed(trial.succeed, "that ends well"):
        record = await _run(trial, words)
        said = f"{' '.join(words)!r} ended as {record.outcome}: {record.reason or record.data}"
        _that(record.outcome is Outcome.SUCCESS, said)
        missing = [name for name in trial.executor.fields if name not in record.data]
        _that(not missing, f"fields names what {' '.join(words)!r} did not export: {', '.join(missing)}")
        json.dumps(record.data)


async def ends_badly(trial: Trial) -> None:
    """A command that fails is no success, and says why by a code or a sentence."""
    for words in _needed(trial.fail, "that fails"):
        record = await _run(trial, words)
        _that(record.outcome is not Outcome.SUCCESS, f"{' '.join(words)!r} ended as success")
        told = record.data.get("returncode") or record.reason
        _that(told, f"{' '.join(words)!r} ended as {record.outcome} without a returncode or a reason")


async def can_be_cancelled(trial: Trial) -> None:
    """A running command that is to be cancelled ends, as cancelled."""
    (words, *_) = _needed(trial.stay, "that runs until it is cancelled")
    async with Stage(trial.executor.name, trial.home) as stage, stage.worker(trial.made()):
        key = await stage.submit(words)
        begun = await _begun(stage, key, trial.patience)
        _that(not begun.ended, f"{' '.join(words)!r} ended by itself, as {begun.outcome}: {begun.reason}")
        await stage.cancel(key)
        record = await stage.record(key, lambda record: record.ended, trial.patience)
    _that(
        record.outcome is Outcome.CANCELLED, f"after a cancel it ended as {record.outcome}: {record.reason}"
    )


async def survives_its_worker(trial: Trial) -> None:
    """`execute` is called again after the worker was restarted, and finds what it began instead of beginning anew."""
    (words, *_) = _needed(trial.stay, "that runs until it is cancelled")
    async with Stage(trial.executor.name, trial.home) as stage:
        async with stage.worker(trial.made()):
            key = await stage.submit(words)
            before = await _begun(stage, key, trial.patience)
            _that(not before.ended, f"{' '.join(words)!r} ended by itself, as {before.outcome}")
        async with stage.worker(trial.made()):
            await stage.cancel(key)
            after = await stage.record(key, lambda record: record.ended, trial.patience)
    _that(after.outcome is Outcome.CANCELLED, f"the next worker ended it as {after.outcome}: {after.reason}")
    for name in _NAMES & before.data.keys():
        was, became = before.data[name], after.data.get(name)
        _that(was == became, f"{name} was {was} and is {became} after a restart: it was begun twice")


async def answers_the_doctor(trial: Trial) -> None:
    """`checks` answers, whatever is missing on this host."""
    for found in await trial.made().checks():
        _that(isinstance(found, Doctor), f"checks gave {found!r}, which is no qme.executor.Check")
        _that(found.said, f"the check of {found.part} says nothing")


CheckOf = Callable[[Trial], Awaitable[None]]
ALL: tuple[CheckOf, ...] = (
    describes_itself,
    takes_its_commands,
    ends_well,
    ends_badly,
    can_be_cancelled,
    survives_its_worker,
    answers_the_doctor,
)


async def _run(trial: Trial, words: Words) -> TaskRecord:
    async with Stage(trial.executor.name, trial.home) as stage, stage.worker(trial.made()):
        key = await stage.submit(words)
        return await stage.record(key, lambda record: record.ended, trial.patience)


async def _begun(stage: Stage, key: TaskKey, patience: float) -> TaskRecord:
    """Wait until it runs, or waits at a scheduler, or has ended too soon; best until it can be told from another."""
    try:
        return await stage.record(key, lambda record: record.ended or _NAMES & record.data.keys(), _SOON)
    except TimeoutError:
        return await stage.record(key, lambda record: record.ended or record.started, patience)


def _needed(commands: Sequence[Words], what: str) -> Sequence[Words]:
    if not commands:
        raise NotTried(f"no command was given {what}")
    return commands


def _that(holds: object, complaint: str) -> None:
    if not holds:
        raise AssertionError(complaint)
