"""Three nodes, and qme on them: begun with one copy of everything, and raised to three while there were tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.cluster.nodes import Cluster
from tests.cluster.site import Site
from tests.integration.stack import until


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, all well."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def grown(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str, str]]:
    """The site, a task that ended while there was one copy, and one that was queued then."""
    home = tmp_path_factory.mktemp("home")
    with Site(home, cluster.url, cluster.creds(), env={"QME_REPLICAS": "1"}) as site:
        ended = site.ok("submit", "--wait", "echo", "before").split()[0]
        site.end("worker")
        queued = site.ok("submit", "echo", "queued before").strip()
        site.env["QME_REPLICAS"] = "3"
        for number in (1, 2):
            site.end(f"submitter-{number}")
            site.begin(f"submitter-{number}", "qme-submitter")
        until(lambda: set(copies(cluster).values()) == {3}, 60)
        cluster.wait()
        site.begin("worker", "qme", "worker", "shell")
        yield site, ended, queued


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
