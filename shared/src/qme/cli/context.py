"""What every verb is handed: settings, a client, a voice. No verb's logic."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qme.client import AsyncClient
    from qme.settings import Loaded, Settings

#: exit codes that are nobody's but ours; those that tasks lead to are in `exitcodes`
OWN_FAILURE = 125  #: of qme itself, where the code is a command's own
DETACHED = 130  #: Ctrl-C
PIPE = 141  #: 128 + SIGPIPE, what a shell shows for a program whose reader has gone


@dataclass
class Context:
    """One command line.

    `strict`: the exit code is a command's own, so that qme's own failures are 125. `hints`: somebody may read stderr.
    """

    flags: dict[str, str | None] = field(default_factory=dict)
    strict: bool = False
    hints: bool = True
    #: uuid of a submission that may have been made already, and has to be made sure of
    begun: str | None = None

    @cached_property
    def loaded(self) -> Loaded[Settings]:
        """The settings with their origins. Raises SettingsError."""
        from qme.settings import load, misspelt

        loaded = load(self.flags)
        if self.hints:
            for name, meant in misspelt():
                say(f"the variable {name} is no setting; did you mean {meant}?")
        return loaded

    @property
    def settings(self) -> Settings:
        """The settings. Raises SettingsError."""
        return self.loaded.settings

    def client(self) -> AbstractAsyncContextManager[AsyncClient]:
        """Connect to the bus, or to the local stack, which is started where there is none."""
        from qme.client.connect import connect

        return connect(self.settings, name="cli", tell=say)

    def is_debugging(self) -> bool:
        """Tell whether tracebacks are wanted; looks by itself, since settings may be what is broken."""
        said = self.flags.get("log_level") or os.environ.get("QME_LOG_LEVEL") or ""
        return said.lower() == "debug"


def say(text: str) -> None:
    """Tell a person something, on stderr. What it tells may come from a task or its worker, and steers no terminal."""
    from qme.cli.table import visible  # many commands say nothing

    lines = "\n".join(map(visible, text.split("\n")))
    print(f"qme: {lines}", file=sys.stderr, flush=True)


@contextmanager
def detaching(way_back: Callable[[], str]) -> Iterator[None]:
    """Where Ctrl-C leaves a task alone: say how to come back to it, as things stand then."""
    from asyncio import CancelledError

    try:
        yield
    except CancelledError:  # what asyncio.run makes of Ctrl-C
        say(way_back())
        raise
