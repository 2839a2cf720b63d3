"""One Slurm for all tests of this folder. Where it is not installed they skip, or fail in CI (root's conftest.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, SlurmMissing
from tests.slurm.tasks import QUICK, STRAY


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of this run's own, ended with everything in it."""
    # Clients give up on a controller after 10 s by default; four are enough here.
    variables = {"SLURM_LAB_EXTRA": "MessageTimeout=4"}
    cluster = Cluster(tmp_path_factory.mktemp("slurm"), tmp_path_factory.mktemp("work"), **variables)
    try:
        cluster.up()
    except SlurmMissing as missing:
        pytest.skip(str(missing))
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def qme(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A local stack on a host with Slurm: it starts a Slurm worker by itself."""
    env = {**QUICK, **STRAY, "SLURM_CONF": str(slurm.conf)}
    stack = Stack(tmp_path_factory.mktemp("qme-home"), env)
    stack.ok("up", "--detach")
    yield stack
    stack.qme("down", "--cancel")
    slurm.cancel_all()
