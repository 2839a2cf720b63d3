"""A submitter put together from its parts, and run until it is told to stop. No arguments and no signals here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import TypeVar

from prometheus_client import CollectorRegistry

from qme.bus import expiry, topology
from qme.bus.port import Bus
from qme.contracts.subjects import ADMIN_VERBS, VERBS
from qme.errors import BusUnavailable
from qme.observe.logging import get_logger
from qme.observe.metrics import SubmitterMetrics
from qme.settings import Settings
from qme_submitter.accept import Acceptor
from qme_submitter.admin import Admin
from qme_submitter.ahead import Ahead
from qme_submitter.audit import Audit
from qme_submitter.buckets import Buckets, Clock, utc_now
from qme_submitter.changes import Changes
from qme_submitter.janitor import Janitor
from qme_submitter.lease import Holder, Lease
from qme_submitter.quota import Quota
from qme_submitter.registry import Registry
from qme_submitter.releasing import Releasing
from qme_submitter.removal import Removal
from qme_submitter.retention import Retention
from qme_submitter.room import Room
from qme_submitter.service import Service
from qme_submitter.silence import Silence
from qme_submitter.trail import Trail

log = get_logger(__name__)

#: seconds between two tries while the bus is not there yet
PAUSE = 0.5
#: so many intervals of the janitor lie between two looks at all executors and streams
FULL_LOOKS = 6
#: life of the lease of whoever leads, in seconds: so long nothing is released once it is killed
LEASE = 6.0


T = TypeVar("T")


async def unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """Do a piece of work that may take long; give it up, and give None, when told to stop."""
    working, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


class Submitter:
    """One submitter on one connection; any number of them share the work."""

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        clock: Clock = utc_now,
        metrics_registry: CollectorRegistry | None = None,
    ) -> None:
        self._bus = bus
        self._settings = settings
        #: it answers requests
        self.serves = False
        verbs = tuple(dict.fromkeys((*VERBS, *ADMIN_VERBS)))
        self.metrics_registry = metrics_registry or CollectorRegistry()
        metrics = SubmitterMetrics(self.metrics_registry, verbs)
        self.buckets = Buckets(bus, clock)
        self.registry = Registry(
            bus, topology.streams(settings), full_after=FULL_LOOKS * settings.janitor_interval
        )
        self.ahead = Ahead(bus, self.registry)
        self.acceptor = Acceptor(
            self.buckets,
            self.registry,
            Room(bus),
            Quota(self.buckets, settings.queued_max),
            self.ahead,
            repeated=metrics.deduplicated.inc,
            unroutable=metrics.unroutable.inc,
        )
        removal = Removal(self.buckets, settings.spool_keep)
        self.changes = Changes(self.buckets, self.registry, removal, self.ahead)
        self.releasing = Releasing(
            self.changes, self.ahead, settings.lost_settle, metrics, settings.queued_max
        )
        self.acceptor.accepted = self.releasing.accepted
        self.ahead.others_wait = self.releasing.waits_at
        self.retention = Retention(removal, settings.records_keep)
        self.janitor = Janitor(
            self.changes,
            Lease(
                bus,
                Holder(holder=f"{settings.host}:{os.getpid()}", since=clock()),
                LEASE,
            ),
            interval=settings.janitor_interval,
            grace=settings.janitor_grace,
            releasing=self.releasing,
            retention=self.retention,
            silence=Silence(self.buckets, self.registry, settings.lost_after, settings.janitor_interval),
            metrics=metrics,
        )
        self.audit = Audit(bus, clock)
        self.trail = Trail(bus)
        self.service = Service(
            self.registry,
            self.acceptor,
            self.changes,
            Admin(self.buckets, self.registry),
            self.audit,
            metrics,
        )

    async def run(self, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
        """Set the bus up, serve, and look after tasks until `stop`. Raises NotPermitted."""
        await unless(stop, self._set_up())
        if stop.is_set():
            return
        loops = (
            self.registry.listen(),
            self.registry.keep_fresh(),
            self.janitor.listen(),
            self.janitor.run(),
            self.janitor.keep_lease(),
            self.releasing.run(),
            self.ahead.run(),
            self.trail.keep(),
            expiry.watch(self._settings),
        )
        stopping = asyncio.create_task(stop.wait())
        tasks = {stopping, *(asyncio.create_task(loop) for loop in loops)}
        try:
            async with self.service.serving():
                self.serves = True
                log.info("submitter.ready", user=self._bus.user, pid=os.getpid())
                if ready is not None:
                    ready.set()
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                await task  # no loop ends by itself: this raises why
        finally:
            self.serves = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.audit.flush()

    def ready(self) -> bool:
        """Tell whether requests are answered now."""
        return self.serves and self._bus.connected

    async def _set_up(self) -> None:
        while True:
            try:
                return await self.registry.refresh(full=True)
            except BusUnavailable as error:
                # A cluster that elects its leaders takes its time.
                log.warning("submitter.bus_not_ready", error=error.message)
                await asyncio.sleep(PAUSE)
