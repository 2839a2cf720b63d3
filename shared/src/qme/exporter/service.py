"""The exporter as a process: connection, parts, page and signals."""

from __future__ import annotations

import asyncio
import signal

from prometheus_client import CollectorRegistry

from qme.bus.port import Bus
from qme.client.connect import open_bus
from qme.errors import BusUnavailable
from qme.exporter.counting import Counting
from qme.exporter.looking import Looking
from qme.exporter.page import Page, Sight
from qme.exporter.totals import Totals
from qme.observe import health
from qme.observe.logging import configure, get_logger
from qme.settings import Settings

log = get_logger(__name__)

#: seconds between two tries while the bus is not there yet
PAUSE = 0.5


class Exporter:
    """One exporter; before it has a bus it shows just that."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._parts: tuple[Bus, Counting, Looking] | None = None

    def sight(self) -> Sight:
        """Give what there is to show; called in threads."""
        if self._parts is None:
            return Sight(Totals(), 0.0, 0, False, None)
        bus, counting, looking = self._parts
        return Sight(counting.totals, counting.saved_at, counting.repeated, bus.connected, looking.standing)

    def ready(self) -> bool:
        """Tell whether it shows what is true now."""
        sight = self.sight()
        seen = sight.standing is not None and sight.standing.tasks is not None
        return sight.connected and sight.saved_at > 0 and seen

    async def run(self, bus: Bus) -> None:
        """Count and look until cancelled. Raises NotPermitted."""
        counting = Counting(bus)
        looking = Looking(bus, self._interval, counting)
        self._parts = bus, counting, looking
        log.info("exporter.runs", user=bus.user)
        parts = [asyncio.create_task(part) for part in (counting.run(), looking.run(), looking.mirror())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                await part  # none ends by itself: this raises why
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)


def run_exporter(settings: Settings, port: int) -> None:
    """Serve on `port` until SIGINT or SIGTERM. Raises SettingsError, NotPermitted, LocalStackError."""
    configure(settings.log_level, settings.log_format)
    asyncio.run(_run(settings, port))


async def _run(settings: Settings, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    exporter, registry = Exporter(settings.metrics_interval), CollectorRegistry()
    registry.register(Page(exporter.sight))
    page = health.shown(
        "exporter",
        registry,
        exporter.ready,
        port=port,
        host=settings.metrics_host,
        token_file=settings.metrics_token,
    )
    async with page:
        working, stopping = asyncio.create_task(_work(settings, exporter)), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)


async def _work(settings: Settings, exporter: Exporter) -> None:
    bus = await _connected(settings)
    try:
        await exporter.run(bus)
    finally:
        await bus.close()


async def _connected(settings: Settings) -> Bus:
    """Connect, however long the bus takes to come."""
    while True:
        try:
            return await open_bus(settings, "exporter")
        except BusUnavailable as error:
            if settings.nats_url is None:
                raise
            log.warning("exporter.waits_for_bus", error=error.message)
            await asyncio.sleep(PAUSE)
