"""The stage of the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.client.scene import USER, Scene, scene

from qme.settings import Settings


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    """A bus with nothing on it yet."""
    settings = Settings(home=tmp_path, user=USER, host="laptop", request_timeout=2.0, publish_retry=1.0)
    async with scene(settings) as made:
        yield made
