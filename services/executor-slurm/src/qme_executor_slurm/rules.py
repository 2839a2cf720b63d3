"""Which options of sbatch a worker takes, wherever they stand: command line, script, variables. Pure.

Where programs are named (`allow`) and nothing is said of options, those that run something else, or as somebody else,
or bring an environment along are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from qme.contracts import sbatch_words
from qme.contracts.sbatch_words import Words
from qme.executor import policy
from qme_executor_slurm import directives
from qme_executor_slurm.settings import SlurmSettings

#: refused beside a list of programs, unless `options` or `options_deny` say otherwise
WITH_PROGRAMS = ("uid", "gid", "wrap", "export", "export-file", "get-user-env")
_VARIABLE = "SBATCH_"
#: variables that are not spelled as their option is
_SPELLED = {"array-inx": "array", "timelimit": "time", "overcommit": "overcommit", "debug": "verbose"}


def look_inside(settings: SlurmSettings) -> bool:
    """Tell whether it matters what options an sbatch has."""
    set_ = (settings.options, settings.options_deny, settings.allow, settings.directories)
    return any(rule is not None for rule in set_)


def refusal(
    settings: SlurmSettings,
    words: Words,
    script: str,
    env: Mapping[str, str],
    resolved: Callable[[str], Path],
) -> str | None:
    """Say which rule refuses an sbatch, and for what. `resolved` gives the real path of a folder that is named."""
    inside = Words() if "wrap" in words.names else sbatch_words.read(directives.words(script))
    given = (*words.options, *inside.options)
    names = [option.name for option in given] + [
        _option_of(name) for name in env if name.startswith(_VARIABLE)
    ]
    for rule, value in _broken(settings, names):
        return f"refused by this worker's rule {rule}: {value}"
    folders = [option.value for option in given if option.name == "chdir" and option.value]
    if settings.directories is not None:
        for folder in folders:
            if not policy.below(resolved(folder), settings.directories):
                return (
                    f"refused by this worker's rule directories: --chdir {folder} is not below "
                    f"{', '.join(map(str, settings.directories))}"
                )
    return None


def _broken(settings: SlurmSettings, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    allowed, denied = settings.options, settings.options_deny
    if allowed is None and denied is None and settings.allow is not None:
        denied = WITH_PROGRAMS
    if allowed is None and denied is None:
        return
    for name in names:
        if name not in sbatch_words.LONG:
            # Some sbatch may know it, as a new option or as the beginning of one that is refused.
            yield "options", f"sbatch --{name} is no option that is known here"
        elif allowed is not None and name not in allowed:
            yield "options", f"sbatch --{name} is not among {', '.join(allowed) or 'none'}"
        elif name in (denied or ()):
            yield "options_deny", f"sbatch --{name}"


def _option_of(variable: str) -> str:
    name = variable.removeprefix(_VARIABLE).lower().replace("_", "-")
    return _SPELLED.get(name, name)
