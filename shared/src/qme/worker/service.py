"""The worker process: puts the parts together, runs them side by side, and leaves when told to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from qme.bus import expiry
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.errors import InvalidRequest
from qme.executor import registry
from qme.executor.base import Executor
from qme.executor.commands import Keeper
from qme.executor.spool import Spool
from qme.observe import health
from qme.observe.logging import configure
from qme.observe.metrics import WorkerMetrics
from qme.settings import Settings, load_executor_settings
from qme.settings.table import account
from qme.worker import spooled
from qme.worker.connection import open_bus
from qme.worker.context import Context
from qme.worker.logs import LogShipper
from qme.worker.loop import Worker
from qme.worker.records import Records


@dataclass
class Orders:
    """What a worker process is told from outside."""

    #: take nothing new and leave; commands live on with the keeper, and the next worker takes them up
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    #: with `drain`: leave before what runs has ended
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    #: whether it does its work, for whoever asks from outside
    ready: Callable[[], bool] = lambda: False

    def give(self) -> None:
        """Pass a signal on: the first one stops, the second one hurries."""
        (self.hurry if self.stop.is_set() else self.stop).set()


def run_worker(
    name: str,
    settings: Settings,
    *,
    pool: str | None = None,
    users: tuple[str, ...] = (),
    drain: bool = False,
) -> None:
    """Run a worker of the executor `name` until SIGTERM or SIGINT.

    `pool`: a shared pool (default: the account's own), `users`: who may submit to it. `drain`: on the first signal
    wait for what runs, on the second leave. Raises NotFound, ExecutorBroken, SettingsError, SpoolBusy, NotPermitted and
    whatever the executor's `open` raises.
    """
    configure(settings.log_level, settings.log_format)
    kind = registry.load(name)
    executor = kind(load_executor_settings(name, kind.settings_type, home=settings.home).settings)
    asyncio.run(_run(executor, settings, pool, users, drain))


async def _run(
    executor: Executor[Any], settings: Settings, pool: str | None, users: tuple[str, ...], drain: bool
) -> None:
    orders, registry_ = Orders(), CollectorRegistry()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, orders.give)
    page = health.shown(
        "worker",
        registry_,
        lambda: orders.ready(),
        port=settings.metrics_port,
        host=settings.metrics_host,
        token_file=settings.metrics_token,
    )
    async with page:
        await _connected(executor, settings, registry_, orders, pool=pool, users=users, drain=drain)


async def _connected(
    executor: Executor[Any],
    settings: Settings,
    registry_: CollectorRegistry,
    orders: Orders,
    **options: Any,
) -> None:
    connecting = asyncio.create_task(open_bus(settings, f"worker {executor.name}"))
    stopping = asyncio.create_task(orders.stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not connecting.done():
        connecting.cancel()
        return
    bus = await connecting
    try:
        await work(executor, settings, bus, orders=orders, registry_=registry_, **options)
    finally:
        await bus.close()


async def work(
    executor: Executor[Any],
    settings: Settings,
    bus: Bus,
    *,
    pool: str | None = None,
    users: tuple[str, ...] = (),
    drain: bool = False,
    orders: Orders | None = None,
    registry_: CollectorRegistry | None = None,
) -> None:
    """Work on a bus until ordered to stop, counting into `registry_`.

    Raises SpoolBusy, KeeperError and what the executor's `open` raises.
    """
    orders = orders or Orders()
    # Routing knows people by the name they have on the bus, and credentials may give another one than the account's.
    own = subjects.personal_pool(subjects.untoken(bus.user))
    place = subjects.token(pool) if pool else own
    if place.startswith("u-") and place != own:
        raise InvalidRequest(f"--pool {pool} is the pool of another person's own workers; yours is {own}")
    spool = Spool(spooled.spool_path(settings, executor.name, place))
    spool.lock()
    registry_ = registry_ or CollectorRegistry()
    metrics = WorkerMetrics(registry_, executor.name, executor.settings.slots)
    executor.measure(registry_)
    context = Context(
        settings=settings,
        executor=executor,
        pool=place,
        account=account(),
        worker=spool.worker_id,
        bus=bus,
        spool=spool,
        keeper=Keeper(spool),
        logs=LogShipper(bus, settings, metrics),
        records=Records(bus, spool.worker_id, metrics, settings.host),
        metrics=metrics,
    )
    worker = Worker(context, users)
    ends = asyncio.create_task(expiry.watch(settings))
    orders.ready = lambda: bus.connected and worker.at_work
    try:
        await _until(orders, worker, drain)
    finally:
        ends.cancel()
        await worker.leave()
        spool.unlock()


async def _until(orders: Orders, worker: Worker, drain: bool) -> None:
    running = asyncio.create_task(worker.run())
    waits: list[asyncio.Task[Any]] = [
        asyncio.create_task(event.wait()) for event in (orders.stop, orders.hurry)
    ]
    try:
        await asyncio.wait({running, waits[0]}, return_when=asyncio.FIRST_COMPLETED)
        if drain and not running.done():
            emptied = asyncio.create_task(worker.drained())
            waits.append(emptied)
            await asyncio.wait({running, emptied, waits[1]}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running  # it never ends by itself: this raises why
    finally:
        for task in (running, *waits):
            task.cancel()
        await asyncio.gather(running, *waits, return_exceptions=True)
