"""A Slurm worker that kills itself at a given point: ``dying_worker URL HOME POINT [KEY=VALUE…]``.

POINT is ``execute``, ``intent`` (it stands in the journal), ``sbatch:<seconds>`` (so long after sbatch was started),
``answered`` (sbatch has named the job), ``noted`` (the job stands in the journal), ``polled:<n>`` (after so many looks
at Slurm), or ``never``. KEY=VALUE are settings of the executor, in seconds; ``lease`` is the worker's.
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

from tests.unit.worker.lab import USER, settings_for

from qme.bus.jetstream import JetStreamBus
from qme.worker import Orders, work
from qme_executor_slurm import SlurmExecutor, SlurmSettings, commands
from qme_executor_slurm.journal import Journal
from qme_executor_slurm.poller import Poller

#: quick, where the cluster of the tests allows it: its clients give up on a controller after four seconds
QUICK = {
    "sbatch_timeout": 3.0,
    "lookup_span": 2.0,
    "retry_first": 1.0,
    "poll_first": 0.3,
    "poll_floor": 0.2,
    "poll_longest": 1.0,
    "poll_backoff": 2.0,
    "output_first": 0.1,
    "output_longest": 0.5,
}


def die() -> None:
    """End as kill -9 ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str, which: int = 1) -> None:
    """Die when a method has returned for the `which`-th time."""
    method: Callable[..., Any] = getattr(owner, name)
    seen = [0]

    def count() -> None:
        seen[0] += 1
        if seen[0] == which:
            die()

    def call(*args: Any, **options: Any) -> Any:
        found = method(*args, **options)
        count()
        return found

    async def call_async(*args: Any, **options: Any) -> Any:
        found = await method(*args, **options)
        count()
        return found

    setattr(owner, name, call_async if asyncio.iscoroutinefunction(method) else call)


def during_sbatch(seconds: float) -> None:
    """Die so long after sbatch was started."""
    submit = commands.submit

    async def dying(*args: Any, **options: Any) -> Any:
        asyncio.get_running_loop().call_later(seconds, die)
        return await submit(*args, **options)

    commands.submit = dying


def arrange(point: str) -> None:
    """Put the death where it belongs."""
    kind, _, rest = point.partition(":")
    match kind:
        case "execute":
            after(Journal, "__init__")
        case "intent":
            after(Journal, "intend")
        case "sbatch":
            during_sbatch(float(rest))
        case "answered":
            after(commands, "submit")
        case "noted":
            after(Journal, "accept")
        case "polled":
            after(Poller, "cycle", int(rest))


async def main(url: str, home: Path, point: str, settings: dict[str, float]) -> None:
    """Run until killed."""
    bus = await JetStreamBus.open(
        [url], {}, user=USER, name="worker", connect_timeout=5.0, publish_retry=10.0
    )
    arrange(point)
    lease = settings.pop("lease", 10.0)
    executor = SlurmExecutor(SlurmSettings(**{**QUICK, **settings}))  # type: ignore[arg-type]
    orders = Orders()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, orders.give)
    await work(executor, replace(settings_for(home), lease=lease), bus, orders=orders)
    await bus.close()


if __name__ == "__main__":
    given = {name: float(value) for name, _, value in (word.partition("=") for word in sys.argv[4:])}
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], given))
