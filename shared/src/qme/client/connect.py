"""Opens a client: to the bus that the settings name, else to the local stack, which is started where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qme.bus.connect import connect as connect_bus
from qme.bus.port import Bus
from qme.client.api import AsyncClient
from qme.settings import Settings


@asynccontextmanager
async def connect(settings: Settings, *, name: str = "client") -> AsyncIterator[AsyncClient]:
    """Connect, and close when the context ends. `name` is what the bus's monitoring shows.

    Raises BusUnavailable, NotPermitted, SettingsError, LocalStackError.
    """
    bus = await open_bus(settings, name)
    try:
        yield AsyncClient(bus, settings)
    finally:
        await bus.close()


async def open_bus(settings: Settings, name: str) -> Bus:
    """Connect to the settings' bus or the local one. The caller closes it; errors as in `connect`."""
    if settings.nats_url is not None:
        return await connect_bus(settings, url=settings.nats_url, creds=settings.nats_creds, name=name)
    from qme import local  # starts processes: not for those who have a bus

    endpoint = await local.ensure(settings)
    return await connect_bus(settings, url=endpoint.url, creds=endpoint.creds, name=name)
