"""A keeper that kills itself at a given point: ``dying_keeper.py POINT SPOOL [IDLE [SYNC]]``.

POINT: ``token`` (it has made a start token), ``spawned`` (the command runs, its pid is noted nowhere), ``noted`` (it is
noted, nobody was told), ``reaped`` (the command has ended, its exit record is not written), ``recorded`` (it is).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

# As the keeper's own entry does: qme itself is never imported.
sys.path.append(str(Path(__file__).parents[3] / "shared/src/qme/executor"))
launch: Any = importlib.import_module("keeper.launch")
journal: Any = importlib.import_module("keeper.journal")
program: Any = importlib.import_module("keeper.program")


def die(*_: object) -> None:
    """End as kill -9 ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(owner: Any, name: str) -> None:
    """Let a function do its work, and die before anybody learns of it."""
    work = getattr(owner, name)

    def dying(*args: Any) -> None:
        work(*args)
        die()

    setattr(owner, name, dying)


def main(point: str, *argv: str) -> int:
    """Keep the spool until that point."""
    if point == "token":
        launch.Launch.spawn = die
    elif point == "spawned":
        then_die(launch, "_execute")
    elif point == "noted":
        then_die(launch.Launch, "spawn")
    elif point == "reaped":
        journal.Journal.save = die
    else:
        then_die(journal.Journal, "save")
    return int(program.main(list(argv)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
