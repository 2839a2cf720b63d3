"""Holds what was submitted against this worker's rules, on this host: finds programs, resolves folders. Starts nothing.

What is found here is what is run: a task that passes is changed to name its program and its folder by the paths that
were judged, so that neither PATH nor a link can lead elsewhere afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qme.contracts.tasks import TaskSpec
from qme.errors import QmeError
from qme.executor import policy
from qme.executor.policy import Facts
from qme.executor.workplace import usable
from qme.settings import ExecutorSettings


class Refused(QmeError):
    """A rule of this worker's does not take the task; nothing of it was started."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class Judge:
    """One worker's rules."""

    settings: ExecutorSettings

    @property
    def looks(self) -> bool:
        """Anything but a limit is set, so that tasks have to be looked at."""
        return bool(policy.rules(self.settings).keys() - {"max_runtime", "output_limit"})

    def capped(self, spec: TaskSpec) -> TaskSpec:
        """Give the task with this worker's limit of run time, where its own is not shorter."""
        longest = self.settings.max_runtime
        if longest is None or (spec.timeout is not None and spec.timeout <= longest):
            return spec
        return spec.model_copy(update={"timeout": longest})

    @property
    def too_long(self) -> str:
        """Why a command was ended whose own limit was a later one, or none."""
        return f"ended by this worker's rule max_runtime: {self.settings.max_runtime:g} s"

    def admitted(self, spec: TaskSpec, path: str, own: Path) -> TaskSpec:
        """Give the task as it may be run. `path` is its PATH, `own` its own folder. Raises Refused, WorkplaceError.

        Looks at files, and so may block for as long as a file server does not answer.
        """
        folder = usable(spec)
        cwd = None if folder is None else Path(os.path.realpath(folder))
        facts = Facts(spec.user, spec.argv, spec.shell, None, cwd, tuple(spec.env))
        if policy.judges_programs(self.settings) and not spec.shell:
            facts = replace(facts, program=program(spec.argv[0], path, cwd or own))
        resolved = replace_folders(self.settings)
        if (why := policy.refusal(resolved, facts)) is not None:
            raise Refused(why)
        changed: dict[str, object] = {}
        if self.settings.allow is not None and facts.program is not None:
            changed["argv"] = (facts.program, *spec.argv[1:])
        if self.settings.directories is not None and cwd is not None:
            changed["cwd"] = str(cwd)
        return spec.model_copy(update=changed) if changed else spec


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
