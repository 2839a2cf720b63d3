"""One Slurm for all tests of this folder, and a local stack on it. Where Slurm is not installed they skip, or fail in
CI (root's conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, SlurmMissing
from tests.slurm.tasks import QUICK, STRAY
from tests.slurm.workers import Workers
from tests.unit.worker.lab import USER, Lab

#: `make soak` has them too: they need a Slurm of their own, and that Slurm takes its time
collect_ignore = [] if os.environ.get("QME_TEST_ALL") else ["test_limits.py"]
#: Clients give up on a controller after 10 s by default; four are enough here. And partitions that take no jobs.
EXTRA = """MessageTimeout=4
PartitionName=drained Nodes=n1 State=DRAIN
PartitionName=inactive Nodes=n1 State=INACTIVE
PartitionName=down Nodes=n1 State=DOWN"""


@contextmanager
def cluster(
    paths: pytest.TempPathFactory, files: Mapping[str, str] | None = None, **variables: str
) -> Iterator[Cluster]:
    """Have a Slurm, ended with everything in it; `files` stand beside its slurm.conf."""
    made = Cluster(paths.mktemp("slurm"), paths.mktemp("work"), **variables)
    for name, text in (files or {}).items():
        (made.directory / name).write_text(text)
    try:
        made.up()
    except SlurmMissing as missing:
        pytest.skip(str(missing))
    yield made
    made.down()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of this run's own."""
    with cluster(tmp_path_factory, SLURM_LAB_EXTRA=EXTRA) as made:
        yield made


@pytest.fixture(scope="session")
def qme(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A local stack on a host with Slurm: it starts a Slurm worker by itself."""
    env = {**QUICK, **STRAY, "SLURM_CONF": str(slurm.conf)}
    stack = Stack(tmp_path_factory.mktemp("qme-home"), env)
    stack.ok("up", "--detach")
    yield stack
    stack.qme("down", "--cancel")
    slurm.cancel_all()


@asynccontextmanager
async def pool(slurm: Cluster, tmp_path: Path) -> AsyncIterator[Workers]:
    """Have a bus with a pool for the tasks of a Slurm."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    bus = await server.connect(USER)
    lab = Lab(None, bus, tmp_path, "slurm")
    await lab.set_up()
    workers = Workers(slurm, server, lab)
    yield workers
    workers.kill()
    await lab.clean_up()
    await bus.close()
    server.kill()
    slurm.cancel_all()


@pytest.fixture
async def workers(slurm: Cluster, tmp_path: Path) -> AsyncIterator[Workers]:
    """A bus of the test's own, with a pool for Slurm tasks."""
    async with pool(slurm, tmp_path) as made:
        yield made
