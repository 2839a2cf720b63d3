"""The lab of the worker's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.worker.lab import USER, Lab

from qme.bus.memory import MemoryServer


@pytest.fixture
async def bare_lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A bus that nobody has set up yet."""
    server = MemoryServer()
    bus = server.connect(USER)
    lab = Lab(server, bus, tmp_path)
    yield lab
    await lab.clean_up()
    await bus.close()


@pytest.fixture
async def lab(bare_lab: Lab) -> Lab:
    """A bus with the pool's queue on it."""
    await bare_lab.set_up()
    return bare_lab
