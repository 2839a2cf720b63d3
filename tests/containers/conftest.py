"""NATS in containers, and qme on the host beside them. Where no engine can be had the tests say so, and fail in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cluster.site import Site

if TYPE_CHECKING:
    from tests.containers.nodes import Node

# testcontainers reads these as it is imported. Its reaper's image can't be pulled where there is no registry.
os.environ |= {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
}

#: until a node that is cut off is known to be, and others lead, on a busy machine
PATIENT = {"QME_REQUEST_TIMEOUT": "60", "QME_PUBLISH_RETRY": "60"}


def pytest_configure(config: pytest.Config) -> None:
    """Let pass that Docker's client leaves its sockets to the garbage collector."""
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket.socket.*family=1,:ResourceWarning")


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[None]:
    """A container engine."""
    from tests.containers.engine import NoEngine, engine

    try:
        having = engine()
        having.__enter__()
    except NoEngine as error:
        pytest.skip(str(error))
    yield
    having.__exit__(None, None, None)


@pytest.fixture(scope="session")
def nodes(docker_engine: None) -> Iterator[list[Node]]:
    """Three nodes in containers."""
    from tests.containers.nodes import nodes

    with nodes() as three:
        yield three


@pytest.fixture(scope="session")
def creds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Credentials of the services' user."""
    from tests.containers.nodes import credentials

    return credentials(tmp_path_factory.mktemp("creds"))


@pytest.fixture(scope="session")
def running(nodes: list[Node], creds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Submitters, a shell worker and the command line on the host, on the bus in the containers."""
    home, url = tmp_path_factory.mktemp("home"), ",".join(node.url for node in nodes)
    with Site(home, url, creds, env=PATIENT) as site:
        yield site


@pytest.fixture
def site(running: Site, nodes: list[Node]) -> Iterator[Site]:
    """The site; every node is mended after the test."""
    yield running
    for node in nodes:
        node.mend()
