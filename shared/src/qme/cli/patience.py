"""Says what a command waits for, when it has waited for a while in silence. Ends nothing and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from qme.cli.context import say
from qme.client import AsyncClient
from qme.client.why import obstacle
from qme.errors import QmeError
from qme.settings import Settings

#: seconds of silence before the first look, and between two
LOOK = 3.0


@asynccontextmanager
async def speaking(client: AsyncClient, uuid: str, *, accepted: Callable[[], bool]) -> AsyncIterator[None]:
    """While the context lasts and the task has not been started: say each thing that keeps it waiting, once."""
    speaking = asyncio.create_task(_speak(client, uuid, accepted), name="patience")
    try:
        yield
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def _speak(client: AsyncClient, uuid: str, accepted: Callable[[], bool]) -> None:
    said: set[str] = set()
    while True:
        await asyncio.sleep(LOOK)
        started, reason = False, full_disk(client.settings)
        if reason is None and not accepted():
            reason = "no answer yet; it is asked again until one comes"
        elif reason is None:
            with suppress(QmeError):  # a bus that is away says so to whoever asks it for something
                started, reason = await obstacle(client.bus, uuid)
        if started:
            return
        if reason is not None and reason not in said:
            said.add(reason)
            say(reason)


def full_disk(settings: Settings) -> str | None:
    """Say that the disk under the local stack is full, if that is the bus in use."""
    if settings.nats_url is not None:
        return None
    from qme.local.layout import Layout, free, has_room

    layout = Layout(settings.local_dir)
    try:
        if has_room(layout):
            return None
        left = free(layout) >> 20
    except OSError:
        return None
    return f"the disk under {layout.root} is full ({left} MiB free): make room, then everything goes on by itself"
