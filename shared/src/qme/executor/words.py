"""A command as words, where it came as one string. Pure."""

from __future__ import annotations

import re
import shlex

from qme.contracts.messages import Submission
from qme.contracts.tasks import TaskSpec
from qme.executor.workplace import WorkplaceError

#: quoted text in which a shell would change nothing, and characters that a backslash keeps as they are
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\$`]|\\.)*"|\\.""", re.DOTALL)
#: what a shell would act upon
_SPECIAL = re.compile(r"[|&;<>()$`*?\[\]{}~!#\"'\\\n]")


def plain_words(spec: TaskSpec | Submission) -> list[str]:
    """Give a task's words, for an executor that calls a program without a shell.

    A command that came as one string (`spec.shell`) is split as a shell splits it. Raises WorkplaceError, which ends
    the task as `submit_failed`, for a string that needs more of a shell than its quotes.
    """
    if not spec.shell:
        return [*spec.argv]
    text = spec.argv[0]
    if found := _SPECIAL.search(_QUOTED.sub("", text)):
        raise WorkplaceError(
            f"this command needs a shell (for {found[0]!r}), and its executor uses none: give the command as words of "
            "their own, not as one string"
        )
    return shlex.split(text)
