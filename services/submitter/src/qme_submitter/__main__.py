"""``qme-submitter``: settings, logs, connection and signals around one submitter."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

import qme
from qme.bus.port import Bus
from qme.client.connect import open_bus
from qme.errors import BusUnavailable, QmeError
from qme.observe import health
from qme.observe.logging import configure, get_logger
from qme.settings import Settings, load
from qme_submitter.process import PAUSE, Submitter, unless

log = get_logger(__name__)


def main() -> None:
    """Run a submitter until SIGTERM or SIGINT. Exits with a QmeError's code where it can't run."""
    parser = argparse.ArgumentParser(
        prog="qme-submitter",
        description="Accepts, routes and releases tasks. Any number may run side by side.",
        epilog="Settings come from QME_* variables and the config file; `qme config show` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"qme-submitter {qme.__version__}")
    parser.parse_args()
    try:
        settings = load().settings
        configure(settings.log_level, settings.log_format)
        asyncio.run(_run(settings))
    except QmeError as error:
        sys.stderr.write(f"qme-submitter: {error.message}\n")
        sys.exit(error.exit_code)


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry, serving = CollectorRegistry(), _Serving()
    page = health.shown(
        "submitter",
        registry,
        serving.ready,
        port=settings.metrics_port,
        host=settings.metrics_host,
        token_file=settings.metrics_token,
    )
    async with page:
        bus = await unless(stop, _connected(settings))
        if bus is None:
            return
        try:
            serving.submitter = Submitter(bus, settings, metrics_registry=registry)
            await serving.submitter.run(stop)
        finally:
            await bus.close()
            log.info("submitter.stopped")


@dataclass
class _Serving:
    """The submitter, once there is one; asked by the page, which is there before."""

    submitter: Submitter | None = None

    def ready(self) -> bool:
        return self.submitter is not None and self.submitter.ready()


async def _connected(settings: Settings) -> Bus:
    """Connect, however long the bus takes to come."""
    while True:
        try:
            return await open_bus(settings, "submitter")
        except BusUnavailable as error:
            if settings.nats_url is None:
                raise
            log.warning("submitter.waits_for_bus", error=error.message)
            await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    main()
