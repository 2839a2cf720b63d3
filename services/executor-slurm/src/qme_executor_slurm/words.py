"""The user's command as words, where it came as one. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from qme.executor.workplace import WorkplaceError

#: quoted text in which a shell would change nothing, and characters that a backslash keeps as they are
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\$`]|\\.)*"|\\.""", re.DOTALL)
#: what a shell would act upon
_SPECIAL = re.compile(r"[|&;<>()$`*?\[\]{}~!#\"'\\\n]")


def split(argv: Sequence[str], *, shell: bool) -> list[str]:
    """Give the words of a command; `shell`: it is one word that a shell was meant to read.

    Raises WorkplaceError for one that needs more of a shell than quotes: sbatch is called without one.
    """
    if not shell:
        return [*argv]
    text = argv[0]
    if found := _SPECIAL.search(_QUOTED.sub("", text)):
        raise WorkplaceError(
            f"this sbatch command needs a shell (for {found[0]!r}), and gets none: give it as words of their own, "
            "or put the shell's work into the script or --wrap"
        )
    return shlex.split(text)
