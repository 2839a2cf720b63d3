"""A stack of the real server and supervisor, with services that only live. As a program: what a command does first.

Prints the address, the pid of the server and the command's own lines on stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from qme.local import starting
from qme.local.layout import Layout, State, read_state
from qme.local.plan import Program
from qme.local.stack import Endpoint, to_stderr
from qme.settings import Settings

SLEEPER = "import signal; print('here', flush=True); signal.pause()"
IDLE = (sys.executable, "-c", 'print(\'{"unended": 0, "latest": 0}\')')
BUSY = (sys.executable, "-c", 'print(\'{"unended": 1, "latest": 0}\')')


def services(_: object) -> tuple[Program, ...]:
    """Two services that do nothing."""
    return tuple(
        Program(name, (sys.executable, "-c", SLEEPER, name)) for name in ("submitter", "worker-shell")
    )


async def serving(_settings: Settings, _endpoint: Endpoint, check: Callable[[], None]) -> None:
    """Take the services at their word, once they have been started."""
    while True:
        check()
        state = read_state(Layout(_settings.local_dir))
        if state and all(service.pid for service in state.services):
            return
        await asyncio.sleep(0.01)


RECIPE = starting.Recipe(services, serving, IDLE)


def pids(state: State | None) -> dict[str, int]:
    """The pid of each service."""
    return {service.name: service.pid for service in state.services} if state else {}


async def main(home: Path) -> None:
    """Find or start the stack."""
    settings = Settings(home=home, host="here")
    endpoint = await starting.start(settings, say=to_stderr, recipe=RECIPE)
    server = pids(read_state(Layout(settings.local_dir)))["nats-server"]
    sys.stdout.write(f"{endpoint.url} {server}\n")


if __name__ == "__main__":
    os.environ.pop("QME_TASK_ID", None)
    asyncio.run(main(Path(sys.argv[1])))
