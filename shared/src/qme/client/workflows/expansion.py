"""From a workflow's text to its tasks: matrices are multiplied out, values put in, parents found. Pure.

`{name}` stands for a value of the task's own matrix, in command, env, cwd, message, labels, executor, pool and in the
names of parents; other braces, such as the shell's, are left alone. The name of a task with a matrix stands for all
that it makes, `name[a,b]` for one of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from qme.client.workflows.model import Common, Scalar, TaskText, WorkflowText
from qme.contracts.tasks import On

#: tasks that one file may make
MOST = 100_000
#: how a task says that it waits, by field
_WAYS = {"after": On.SUCCESS, "after_any": On.ANY, "after_fail": On.FAIL}
_FILLED = ("message", "executor", "pool", "cwd")


class Flaw(Exception):
    """What is wrong with a file that has the right form; `where` is the path of keys to it."""

    def __init__(self, where: tuple[str, ...], text: str) -> None:
        super().__init__(text)
        self.where = where


@dataclass(frozen=True, slots=True)
class Planned:
    """One task of a workflow: options as `Options` has them, and the names of those it waits for."""

    name: str
    base: str  #: the name in the file, without values of a matrix
    command: str | tuple[str, ...]
    options: Mapping[str, Any]
    after: Mapping[str, On]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow's tasks, those that others wait for before these."""

    name: str
    path: Path  #: its file; what is relative counts from the folder of that
    tasks: tuple[Planned, ...]
    #: tasks by the name in the file
    made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def expand(text: WorkflowText, path: Path) -> Workflow:
    """Give a file's tasks. Raises Flaw."""
    made: dict[str, tuple[str, ...]] = {}
    values: dict[str, tuple[str, Mapping[str, str]]] = {}
    for base, task in text.tasks.items():
        names = []
        for choice in _choices(base, task):
            one = f"{base}[{','.join(choice.values())}]" if choice else base
            if one in values:
                raise Flaw(("tasks", base, "matrix"), f"makes {one} twice")
            values[one] = (base, choice)
            names.append(one)
            if len(values) > MOST:
                raise Flaw(("tasks", base), f"the file makes more than {MOST} tasks")
        made[base] = tuple(names)
    planned = {
        one: _planned(one, base, text.tasks[base], text.defaults, choice, _Names(made, values))
        for one, (base, choice) in values.items()
    }
    order = _ordered(planned)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text.name or path.stem).strip("-._")[:63] or "workflow"
    return Workflow(plain, path, tuple(planned[one] for one in order), made)


def _choices(base: str, task: TaskText) -> Iterator[dict[str, str]]:
    """Give each choice of values, as texts, but for those that are left out."""
    axes = {axis: [_text(value) for value in values] for axis, values in task.matrix.items()}
    for axis in axes:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", axis):
            raise Flaw(("tasks", base, "matrix", axis), "a name here has letters, digits and _ only")
    left_out = []
    for rule in task.exclude:
        if unknown := rule.keys() - axes.keys():
            raise Flaw(("tasks", base, "exclude"), f"the matrix has no {min(unknown)}")
        left_out.append({axis: _text(value) for axis, value in rule.items()}.items())
    for combination in itertools.product(*axes.values()):
        choice = dict(zip(axes, combination, strict=True))
        if not any(rule <= choice.items() for rule in left_out):
            yield choice


@dataclass(frozen=True, slots=True)
class _Names:
    made: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[str, Mapping[str, str]]]

    def meant(self, name: str) -> Sequence[str]:
        """Give the tasks that a name stands for; none where it is unknown."""
        return self.made.get(name) or ([name] if name in self.values else [])


def _planned(
    one: str, base: str, task: TaskText, defaults: Common, choice: Mapping[str, str], names: _Names
) -> Planned:
    options = _options(task, defaults)
    for key in _FILLED:
        if options.get(key) is not None:
            options[key] = _filled(options[key], choice)
    for key in ("env", "labels"):
        options[key] = {name: _filled(_text(value), choice) for name, value in options[key].items()}
    options["send"] = [_filled(path, choice) for path in task.send]
    command = task.command
    filled = (
        _filled(command, choice)
        if isinstance(command, str)
        else tuple(_filled(word, choice) for word in command)
    )
    after: dict[str, On] = {}
    for way, on in _WAYS.items():
        for text in getattr(task, way):
            place = ("tasks", base, way)
            meant = names.meant(_filled(text, choice))
            if not meant:
                raise Flaw(place, f"there is no task {_filled(text, choice)!r}")
            for parent in meant:
                if after.setdefault(parent, on) is not on:
                    raise Flaw(place, f"{parent} is waited for in two ways")
    return Planned(one, base, filled, options, after)


def _options(task: TaskText, defaults: Common) -> dict[str, Any]:
    """Take what the task says, else what the defaults do; variables and labels come from both."""
    options = {
        name: getattr(task if name in task.model_fields_set else defaults, name)
        for name in Common.model_fields
    }
    for name in ("env", "labels"):
        options[name] = {**getattr(defaults, name), **getattr(task, name)}
    return options


def _filled(text: str, choice: Mapping[str, str]) -> str:
    if not choice:
        return text
    return re.sub(rf"(?<!\$)\{{({'|'.join(choice)})\}}", lambda found: choice[found[1]], text)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ordered(planned: Mapping[str, Planned]) -> list[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    place = {name: at for at, name in enumerate(planned)}
    for name, task in planned.items():
        sorter.add(name, *task.after)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        base = planned[circle[0]].base
        raise Flaw(("tasks", base, "after"), f"waits for itself: {' -> '.join(circle)}") from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        order += ready
        sorter.done(*ready)
    return order
