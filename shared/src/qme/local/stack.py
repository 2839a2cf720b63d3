"""What every command asks first: where is the local bus? Where the stack lives, files answer, in well under 3 ms.

Nothing heavy is imported here; `starting` has the long way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from qme.errors import BusUnavailable
from qme.local import ports
from qme.local.layout import Layout, is_held, read_state
from qme.settings import Settings

#: tells the user something
Say = Callable[[str], None]


class Endpoint(NamedTuple):
    """Where the local bus is, and the file (JSON: user, password; 0600) that opens it."""

    url: str
    creds: Path


async def ensure(settings: Settings) -> Endpoint:
    """Give the local stack's bus, ready for use; starts the stack, and says so on stderr, where none lives.

    Safe to repeat, and from several commands at once: they share one stack. Raises BusUnavailable when the settings
    forbid a local stack, LocalStackError when it can't be started.
    """
    allowed(settings)
    if endpoint := alive(Layout(settings.local_dir)):
        return endpoint
    from qme.local import starting

    return await starting.start(settings, say=to_stderr)


def allowed(settings: Settings) -> None:
    """Check that there may be a local stack. Raises BusUnavailable."""
    if not settings.embedded:
        raise BusUnavailable(
            "no bus: the local stack is switched off (embedded = false); set QME_NATS_URL to a bus"
        )


def alive(layout: Layout) -> Endpoint | None:
    """Give the bus of a stack that lives and has served before; None when there is any doubt."""
    try:
        # First, so that a supervisor that is about to leave an unused stack sees it before we look whether it does.
        os.utime(layout.ready)
        state = read_state(layout)
        if state is None or state.stopping or not is_held(layout.supervisor_lock):
            return None
    except OSError:
        return None
    return Endpoint(state.url, layout.creds) if ports.is_ours(state.port) else None


def to_stderr(text: str) -> None:
    """Tell the user something on stderr."""
    sys.stderr.write(f"qme: {text}\n")
    sys.stderr.flush()
