"""Opens a client: to the bus that the settings name, else to the local stack, which is started where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from qme.bus.connect import connect as connect_bus
from qme.bus.port import Bus
from qme.errors import BusUnavailable
from qme.settings import Settings

if TYPE_CHECKING:
    from qme.client.api import AsyncClient

Tell = Callable[[str], None]

#: seconds between two tries to reach a local stack, at first and at most
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@asynccontextmanager
async def connect(
    settings: Settings, *, name: str = "client", tell: Tell | None = None
) -> AsyncIterator[AsyncClient]:
    """Connect, and close when the context ends. `name` is what the bus's monitoring shows.

    `tell` is handed a sentence whenever the bus is away or back; without it they are logged.

    Raises BusUnavailable, NotPermitted, SettingsError, LocalStackError.
    """
    from qme.client.api import AsyncClient  # all models: not for who only needs a bus

    bus = await open_bus(settings, name, tell)
    try:
        yield AsyncClient(bus, settings)
    finally:
        await bus.close()


async def open_bus(settings: Settings, name: str, tell: Tell | None = None) -> Bus:
    """Connect to the settings' bus or the local one. The caller closes it; errors as in `connect`."""
    if settings.nats_url is not None:
        return await connect_bus(
            settings, url=settings.nats_url, creds=settings.nats_creds, name=name, tell=tell
        )
    return await _open_local(settings, name, tell)


async def _open_local(settings: Settings, name: str, tell: Tell | None) -> Bus:
    """Connect to the local stack. Its supervisor brings a server that died back in about a second: wait for that."""
    from qme import local  # starts processes: not for those who have a bus

    clock = asyncio.get_running_loop().time
    deadline, pause = clock() + settings.publish_retry, _PAUSE
    while True:
        try:
            endpoint = await local.ensure(settings)
            return await connect_bus(settings, url=endpoint.url, creds=endpoint.creds, name=name, tell=tell)
        except BusUnavailable:
            if not settings.embedded or clock() >= deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
