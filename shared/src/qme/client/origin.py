"""What a submission takes from the process that makes it: a uuid, the folder, the umask. No models and no bus here."""

from __future__ import annotations

import os

import uuid_utils


def new_uuid() -> str:
    """Make a uuid whose beginning grows with time (version 7), so that ids sort by age."""
    return str(uuid_utils.uuid7())


def working_directory() -> str | None:
    """Give the present folder as the shell names it (links kept: a site mounts by those names); None if it is gone."""
    try:
        here = os.getcwd()  # noqa: PTH109
        named = os.environ.get("PWD", "")
        if os.path.isabs(named) and os.path.samefile(named, here):  # noqa: PTH117, PTH121
            return named
    except OSError:
        return None
    return here


def umask() -> int | None:
    """Give the umask of this process, where the system tells it."""
    # os.umask can only read by writing, which other threads would notice.
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
            return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), None)
    except OSError:
        return None
