"""A worker process that kills itself: ``python -m tests.integration.dying_worker URL HOME POINT [SPOOLS]``.

SPOOLS is the folder of its spool, where that is not the lab's own. POINT is
``before|after:<subject prefix>:<which one>`` for an append to the bus, ``execute``, ``token`` (the keeper's start has
been answered), or ``never``. The variable SETTLE is its setting of that name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.worker.lab import USER, FaultyBus, settings_for

from qme.bus.jetstream import JetStreamBus
from qme.executor.base import Result, Task
from qme.executor.commands import Keeper
from qme.worker import Orders, work
from qme_executor_shell import ShellExecutor, ShellSettings


def die() -> None:
    """End as kill -9 ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def at(prefix: str, which: int) -> Callable[[str], None]:
    """Die at an append."""
    seen = [0]

    def fault(subject: str) -> None:
        seen[0] += subject.startswith(prefix)
        if seen[0] == which:
            die()

    return fault


class Dying(ShellExecutor):
    """Dies when it is handed a task."""

    async def execute(self, task: Task) -> Result:
        """Never return."""
        die()
        return await super().execute(task)


async def main(url: str, home: Path, point: str, *spools: str) -> None:
    """Run until killed."""
    settings = settings_for(home, float(os.environ.get("SETTLE", "0.5")))
    for folder in spools:
        settings = replace(settings, local_dir=Path(folder))
    bus: Any = FaultyBus(
        await JetStreamBus.open([url], {}, user=USER, name="worker", connect_timeout=5.0, publish_retry=10.0)
    )
    kind, _, rest = point.partition(":")
    if rest:
        prefix, _, which = rest.rpartition(":")
        setattr(bus, kind, at(prefix, int(which)))
    elif kind == "token":
        start = Keeper.start

        async def start_and_die(self: Keeper, *args: Any, **options: Any) -> Any:
            await start(self, *args, **options)
            die()

        Keeper.start = start_and_die  # type: ignore[method-assign]
    said = os.environ
    has = ShellSettings(slots=int(said.get("SLOTS", "2")), cpus=int(said["CPUS"]) if "CPUS" in said else None)
    executor = (Dying if kind == "execute" else ShellExecutor)(has)
    orders = Orders()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, orders.give)
    await work(executor, settings, bus, orders=orders)
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
