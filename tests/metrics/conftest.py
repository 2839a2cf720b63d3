"""The watched site and its Prometheus, one for all tests here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from tests.metrics.site import Prometheus, Watched


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A site with all services, each of them ready."""
    site = Watched(tmp_path_factory.mktemp("site"))
    with site.site.server, contextlib.ExitStack() as ending:
        ending.callback(site.site.stop)
        site.start()
        yield site


@pytest.fixture(scope="session")
def prometheus(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that reads all of its pages."""
    running = Prometheus(watched, tmp_path_factory.mktemp("prometheus") / "etc")
    yield running
    running.stop()
