"""Opens a client: to the bus that the settings name, else to the local stack, which is started where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qme.bus.connect import connect as connect_bus
from qme.bus.port import Bus
from qme.client.api import AsyncClient
from qme.errors import BusUnavailable
from qme.settings import Settings

#: seconds between two tries to reach a local stack, at first and at most
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


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
    return await _open_local(settings, name)


async def _open_local(settings: Settings, name: str) -> Bus:
    """Connect to the local stack. Its supervisor brings a server that died back in about a second: wait for that."""
    from qme import local  # starts processes: not for those who have a bus

    clock = asyncio.get_running_loop().time
    deadline, pause = clock() + settings.publish_retry, _PAUSE
    while True:
        try:
            endpoint = await local.ensure(settings)
            return await connect_bus(settings, url=endpoint.url, creds=endpoint.creds, name=name)
        except BusUnavailable:
            if not settings.embedded or clock() >= deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
