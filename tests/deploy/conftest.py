"""What the tests of containers need. Where no engine can be had they say so, and fail in CI."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.containers.engine import NoEngine, engine

if TYPE_CHECKING:
    from tests.deploy.composed import Composed


def pytest_configure(config: pytest.Config) -> None:
    """Let pass that Docker's client leaves its sockets to the garbage collector."""
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket.socket.*family=1,:ResourceWarning")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The site of deploy/compose.yaml, up and healthy."""
    from tests.deploy.composed import BASE, PYTHON, Composed, compose

    if compose() is None:
        pytest.skip("there is no docker-compose: apt-get install docker-compose")
    if BASE is None and shutil.which("debootstrap", path="/usr/sbin:/usr/bin:/sbin") is None:
        pytest.skip("there is no debootstrap, and QME_TEST_BASE_IMAGE names no image with Python")
    if BASE is None and not PYTHON:
        pytest.skip(
            "platform: the wheels made here are for another Python than the base image's, Debian's 3.11"
        )
    having = engine()
    try:
        having.__enter__()
    except NoEngine as error:
        pytest.skip(str(error))
    site = Composed(tmp_path_factory.mktemp("composed"))
    try:
        site.build()
        site.up()
        yield site
    finally:
        site.down()
        having.__exit__(None, None, None)
