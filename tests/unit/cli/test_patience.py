"""What a command says while it waits in silence: each reason once, and nothing any more once the task was started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.client.world import world

from qme.cli import patience
from qme.settings import Settings

UUID = "01990000-aaaa-7000-8000-00000000aaaa"


async def test_each_reason_is_said_once_until_the_task_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First the disk, then the missing answer, then the missing worker; a task that runs is not spoken over."""
    monkeypatch.setattr(patience, "LOOK", 0.01)
    looks: list[str | None] = []
    full = ["the disk is full"]

    def disk(_: Settings) -> str | None:
        looks.append(full[0] if full else None)
        return looks[-1]

    monkeypatch.setattr(patience, "full_disk", disk)
    accepted: list[bool] = []

    async def some_looks() -> None:
        enough = len(looks) + 4
        async with asyncio.timeout(10):
            while len(looks) < enough:  # noqa: ASYNC110 - it looks by itself
                await asyncio.sleep(0.01)

    async with (
        world(Settings(home=tmp_path, user="ann")) as scene,
        patience.speaking(scene.client, UUID, accepted=lambda: bool(accepted)),
    ):
        await some_looks()
        full.clear()
        await some_looks()
        key = await scene.task("sleep", "1000", uuid=UUID)
        accepted.append(True)
        await some_looks()
        await scene.start(key)
        (speaker,) = (task for task in asyncio.all_tasks() if task.get_name() == "patience")
        await asyncio.wait_for(speaker, 10)
    assert capsys.readouterr().err.splitlines() == [
        "qme: the disk is full",
        "qme: no answer yet; it is asked again until one comes",
        f"qme: shell-{UUID}: no worker of shell in pool u-ann is alive",
    ]
