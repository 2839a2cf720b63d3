"""What a worker refuses to run: its executor's rules, applied to what was submitted. Pure; `qme.worker.judging` looks
at this host for it, and refuses.

`allow` binds: the program that will be run is the one that was judged, under the path it was found by. `deny` does not:
whoever may run any interpreter can word the same thing otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qme.settings import ExecutorSettings, options

#: settings of `ExecutorSettings` that are rules, as they are shown
RULES = ("users", "allow", "deny", "directories", "variables", "max_runtime", "output_limit")
#: characters of a value that are shown in a refusal
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """What was submitted, as this host sees it."""

    user: str
    words: tuple[str, ...]
    #: one word, for /bin/sh
    shell: bool = False
    #: path of the program, the links and ``..`` of its folder resolved; None: there is none
    program: str | None = None
    #: the working folder, resolved; None: one of the task's own
    cwd: Path | None = None
    variables: tuple[str, ...] = ()


def rules(settings: ExecutorSettings) -> dict[str, str]:
    """Give the rules that are set, by name, as text."""
    known = options(type(settings))
    values = {name: getattr(settings, name) for name in RULES}
    return {name: known[name].kind.show(value) for name, value in values.items() if value is not None}


def judges_programs(settings: ExecutorSettings) -> bool:
    """Tell whether it matters which program a command's first word stands for."""
    return settings.allow is not None or settings.deny is not None


def refusal(settings: ExecutorSettings, facts: Facts) -> str | None:
    """Say which rule refuses a task, and for what; None where all take it."""
    for rule, value in _broken(settings, facts):
        shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
        return f"refused by this worker's rule {rule}: {shown}"
    return None


def _broken(settings: ExecutorSettings, facts: Facts) -> Iterator[tuple[str, str]]:
    if settings.users is not None and facts.user not in settings.users:
        yield "users", f"it takes no tasks of {facts.user}"
    if (
        settings.directories is not None
        and facts.cwd is not None
        and not below(facts.cwd, settings.directories)
    ):
        yield "directories", f"the working folder {facts.cwd} is not below {_listed(settings.directories)}"
    for name in facts.variables:
        if not may_set(settings, name):
            yield "variables", f"a task may not set {name}"
    if settings.allow is not None:
        yield from _not_allowed(settings.allow, facts)
    for pattern in settings.deny or ():
        for text in _wordings(facts):
            if _found(pattern, text):
                yield "deny", f"{text!r} matches {pattern!r}"


def _not_allowed(allow: tuple[tuple[str, ...], ...], facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.shell:
        yield "allow", f"it takes no commands for a shell, give the words one by one: {facts.words[0]!r}"
        return
    if facts.program is None:
        yield "allow", f"there is no program {facts.words[0]!r}"
        return
    taken = [entry for entry in allow if _fits(entry[0], facts.program)]
    if not taken:
        yield "allow", f"the program {facts.program} is not among those it runs"
    elif not any(_takes(entry[1:], facts.words[1:]) for entry in taken):
        odd = next(word for word in facts.words[1:] if not all(_takes(entry[1:], (word,)) for entry in taken))
        yield "allow", f"{facts.program} may not be given {odd!r}"


def may_set(settings: ExecutorSettings, name: str) -> bool:
    """Tell whether a task may set a variable. Unless said otherwise none where programs are named: some load code."""
    if settings.variables is None:
        return settings.allow is None
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in settings.variables)


def below(folder: Path, folders: Iterable[Path]) -> bool:
    """Tell whether a folder is one of some, or lies in one of them; all of them resolved."""
    return any(folder.is_relative_to(one) for one in folders)


def _takes(patterns: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Tell whether each word is one of what the patterns describe; without patterns any is."""
    return not patterns or all(any(_fits(pattern, word) for pattern in patterns) for word in words)


def _wordings(facts: Facts) -> Iterator[str]:
    yield " ".join(facts.words)
    if facts.program is not None and not facts.shell:
        yield " ".join((facts.program, *facts.words[1:]))


def _fits(pattern: str, text: str) -> bool:
    import re2  # not every worker has rules

    try:
        return re2.fullmatch(pattern, text) is not None
    except UnicodeEncodeError:
        return False


def _found(pattern: str, text: str) -> bool:
    import re2

    try:
        return re2.search(pattern, text) is not None
    except UnicodeEncodeError:
        return True


def _listed(folders: Iterable[Path]) -> str:
    return ", ".join(map(str, folders))
