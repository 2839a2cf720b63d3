"""Pytest fixtures of qme, for `pytest_plugins = ["qme.testing.fixtures"]`. No test doubles here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qme.testing.nats import NatsServer


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One real NATS server for the whole run; tests on it use streams and subjects of their own, and leave it alone."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A real NATS server for one test, which may break it."""
    with NatsServer(tmp_path_factory.mktemp("own-nats")) as server:
        yield server
