"""A store with tasks in it, for all tests of what is read from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qme.client.mirroring import Batch, Item
from qme_dashboard.store import Store

from .tasks import NOW, entry, uuid_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made = Store(tmp_path)
    yield made
    made.close()


@pytest.fixture
def filled(store: Store) -> Store:
    """Six tasks: one that waits, one that runs, and four that ended in different ways."""
    items: list[Item] = [
        entry(0, created=NOW - 600, status="queued", command="sleep 60", user="bob"),
        entry(1, created=NOW - 500, status="running", started=NOW - 400, labels={"sample": "7"}),
        entry(2, created=NOW - 400, started=NOW - 390, finished=NOW - 380, outcome="success"),
        entry(3, created=NOW - 300, started=NOW - 280, finished=NOW - 200, outcome="failed", returncode=3,
              error=["first\n", "no such file: x.fits\n", "\n"]),
        entry(4, created=NOW - 200, started=NOW - 199, finished=NOW - 100, outcome="timeout", executor="slurm",
              command="sbatch --wrap hostname"),
        entry(5, created=NOW - 100, status="cancelled", finished=NOW - 90, outcome="cancelled"),
    ]  # fmt: skip
    store.apply(Batch(items, fresh=True, whole=True))
    assert uuid_of(5) > uuid_of(0)
    return store
