"""The stack that the tests of whole commands share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One local stack for the whole run, ended with everything in it."""
    running = Stack(tmp_path_factory.mktemp("qme-home"))
    running.ok("up", "--detach")
    yield running
    running.qme("down", "--cancel")
