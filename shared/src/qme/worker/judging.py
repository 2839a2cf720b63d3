"""Holds what was submitted against this worker's rules, on this host: finds programs, resolves folders. Starts nothing.

What is found here is what is run: a task that passes is changed to name its program and its folder by the paths that
were judged, so that neither PATH nor a link can lead elsewhere afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from qme.contracts.tasks import TaskSpec
from qme.errors import QmeError
from qme.executor import policy
from qme.executor.attempts import Exit
from qme.executor.base import Executor, Result, Task
from qme.executor.policy import Facts
from qme.executor.workplace import patiently, usable
from qme.settings import ExecutorSettings

#: rules that no task is refused for
_LIMITS = frozenset({"max_runtime", "output_limit"})


class Refused(QmeError):
    """A rule of this worker's does not take the task; nothing of it was started."""

    code = "refused"


class Judge:
    """One attempt before one worker's rules."""

    def __init__(self, executor: Executor[Any], spec: TaskSpec) -> None:
        self._executor = executor
        self._settings: ExecutorSettings = executor.settings
        #: what was submitted, within the limits; once it was judged, with the paths that were judged
        self.spec = self._submitted = _capped(spec, self._settings)
        self._is_capped = self.spec.timeout != spec.timeout

    async def judge(self, task: Task) -> None:
        """Hold it against the rules, as things stand now. Raises Refused, WorkplaceError."""
        if policy.rules(self._settings).keys() <= _LIMITS:
            return
        path, own = self._executor.search_path(self._submitted), task.directory / "work"
        self.spec = await patiently(task, admitted, self._settings, self._submitted, path, own)

    def named(self, result: Result, ended: Exit | None) -> Result:
        """Have a result tell of the limit that the task did not set itself."""
        if not self._is_capped or ended is None or ended.ended_for != "timeout" or result.reason:
            return result
        return replace(
            result, reason=f"ended by this worker's rule max_runtime: {self._settings.max_runtime:g} s"
        )


def admitted(settings: ExecutorSettings, spec: TaskSpec, path: str, own: Path) -> TaskSpec:
    """Give the task as it may be run. `path` is its PATH, `own` its own folder. Raises Refused, WorkplaceError.

    Looks at files, and so may block for as long as a file server does not answer.
    """
    folder = usable(spec)
    cwd = None if folder is None else Path(os.path.realpath(folder))
    facts = Facts(spec.user, spec.argv, spec.shell, None, cwd, tuple(spec.env))
    if policy.judges_programs(settings) and not spec.shell:
        facts = replace(facts, program=program(spec.argv[0], path, cwd or own))
    if (why := policy.refusal(replace_folders(settings), facts)) is not None:
        raise Refused(why)
    changed: dict[str, object] = {}
    if settings.allow is not None and facts.program is not None:
        changed["argv"] = (facts.program, *spec.argv[1:])
    if settings.directories is not None and cwd is not None:
        changed["cwd"] = str(cwd)
    return spec.model_copy(update=changed) if changed else spec


def _capped(spec: TaskSpec, settings: ExecutorSettings) -> TaskSpec:
    longest = settings.max_runtime
    if longest is None or (spec.timeout is not None and spec.timeout <= longest):
        return spec
    return spec.model_copy(update={"timeout": longest})


def replace_folders(settings: ExecutorSettings) -> ExecutorSettings:
    """Give the rules with the links in their folders followed: homes are often reached by one."""
    if settings.directories is None:
        return settings
    return replace(settings, directories=tuple(Path(os.path.realpath(one)) for one in settings.directories))


def program(word: str, path: str, cwd: Path) -> str | None:
    """Find the program that a command's first word stands for, as the keeper does; the path of its folder resolved.

    A link in last place keeps its name: programs go by that (``python3``), and whoever may make a link in a folder
    may put a program there.
    """
    for found in _candidates(word, path, cwd):
        if Path(found).is_file() and os.access(found, os.X_OK):
            folder, name = os.path.split(found)
            return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 -- pathlib drops what `..` means
    return None


def _candidates(word: str, path: str, cwd: Path) -> Iterator[str]:
    if "/" in word:
        yield f"{cwd}/{word}" if not word.startswith("/") else word
    elif word:
        for folder in path.split(":"):
            yield f"{folder if folder.startswith('/') else f'{cwd}/{folder}'}/{word}"
