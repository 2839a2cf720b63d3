"""What the tests of whole commands and processes share: a local stack, or a NATS server with a pool on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.integration.stack import Stack
from tests.unit.worker.lab import USER, Lab


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One local stack for the whole run, ended with everything in it."""
    running = Stack(tmp_path_factory.mktemp("qme-home"))
    running.ok("up", "--detach")
    yield running
    running.qme("down", "--cancel")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A NATS server of the test's own."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    yield server
    server.kill()


@pytest.fixture
async def lab(server: NatsServer, tmp_path: Path) -> AsyncIterator[Lab]:
    """A pool on that server."""
    bus = await server.connect(USER)
    lab = Lab(None, bus, tmp_path)
    await lab.set_up()
    yield lab
    await lab.clean_up()
    await bus.close()
