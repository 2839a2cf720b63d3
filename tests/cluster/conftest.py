"""Three nodes, and qme on them: begun on a single server, moved, and raised from one copy of everything to three."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.cluster.nodes import USERS, Cluster
from tests.cluster.site import Site
from tests.integration.stack import until

from qme.testing.nats import NatsServer


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, all well."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def grown(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str, str]]:
    """The site, moved from a single server as docs/cluster.md says; a task that ended there, and one that waited."""
    home, backup = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("backup") / "moved"
    user = f'{{ user: site, password: "{USERS["site"]}" }}'
    single = NatsServer(tmp_path_factory.mktemp("single"), users=user)
    one_copy = {"QME_REPLICAS": "1"}
    with single, Site(home, single.url, cluster.creds(), submitters=1, env=one_copy) as before:
        ended = before.ok("submit", "--wait", "echo", "before").split()[0]
        before.end("worker")
        queued = before.ok("submit", "echo", "queued before").strip()
        before.end("submitter-1")
        before.ok("backup", str(backup))
    after = Site(home, cluster.url, cluster.creds())
    after.ok("restore", str(backup), "--waiting", "run")
    with after:
        until(lambda: set(copies(cluster).values()) == {3}, 90)
        cluster.wait()
        yield after, ended, queued


@pytest.fixture
def site(grown: tuple[Site, str, str], cluster: Cluster) -> Iterator[Site]:
    """The site with all nodes well, before and after the test."""
    yield grown[0]
    cluster.mend()


def copies(cluster: Cluster) -> dict[str, int]:
    """How many nodes hold each stream and each of its consumers now, in step."""

    async def count() -> dict[str, int]:
        found = {}
        for stream in await cluster.streams():
            name = stream["config"]["name"]
            found[name] = _held(stream)
            for consumer in await cluster.consumers(name):
                found[f"{name}/{consumer['name']}"] = _held(consumer)
        return found

    return asyncio.run(count())


def _held(info: dict[str, object]) -> int:
    placed = info.get("cluster")
    assert isinstance(placed, dict)
    return 1 + sum(bool(peer["current"]) for peer in placed.get("replicas") or [])
