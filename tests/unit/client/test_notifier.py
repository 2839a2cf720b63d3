"""What the notifier makes of changes, on a bus in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.client.scene import Scene

from qme.contracts.tasks import event_headers
from qme.notifier.service import Notifier


async def test_an_end_that_is_written_again_is_told_once(stage: Scene, tmp_path: Path) -> None:
    """A late report changes an ended record; people have read of its end already."""
    told: asyncio.Queue[str] = asyncio.Queue()
    place = tmp_path / "place"

    async def tell(news: Mapping[str, Any]) -> None:
        told.put_nowait(news["command"])

    running = asyncio.create_task(Notifier(stage.client, [tell], place).run())
    try:
        async with asyncio.timeout(30):
            while not place.exists():  # noqa: ASYNC110 - it tells of what comes after it has begun
                await asyncio.sleep(0.02)
            first = await stage.run("first", labels={"notify": "all"})
            assert await told.get() == "first"
            entry = await stage.records.get(str(first))
            assert entry is not None
            headers = event_headers(entry.value, "w")
            await stage.records.update(str(first), entry.value, entry.revision, headers=headers)
            await stage.run("second", labels={"notify": "all"})
            assert await told.get() == "second"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
