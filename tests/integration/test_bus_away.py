"""The bus goes away under commands and services, and comes back: as it was, emptied, or with a part of it gone."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.everyday import ALL, PATIENCE, Counting
from tests.cluster.site import Site
from tests.integration.stack import until

from qme.bus.jetstream import JetStreamBus
from qme.testing.nats import PASSWORD, USER, NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(240)]

AWAY, BACK = "qme: the bus is away; trying again until it is back", "qme: the bus is back"

#: the queue takes its consumers with it
STREAMS = ("QME_TASKS", "KV_qme_executors", "KV_qme_tasks", "QME_LOGS")[: 4 if ALL else 1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server that these tests end, empty and start."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(scope="module")
def site(server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A submitter, a shell worker and the command line on it."""
    home = tmp_path_factory.mktemp("home")
    with Site(home, server.url, server.creds, submitters=1, env={"QME_REPLICAS": "1"}) as running:
        yield running


def works(site: Site) -> bool:
    """A command goes all the way."""
    return site.qme("run", "echo", "there", timeout=PATIENCE).stdout == b"there\n"


def test_commands_wait_for_the_bus_and_say_so(site: Site, server: NatsServer, tmp_path: Path) -> None:
    """run, submit --wait and logs -f go on where they were, each line once, and tell once of each."""
    running = Counting(site, tmp_path)
    waiting = site.start("submit", "--wait", "sh", "-c", "for i in $(seq 20); do echo $i; sleep 0.5; done")
    assert waiting.stdout is not None
    uid = waiting.stdout.readline().decode().strip()
    followers = [site.start("logs", "-f", uid), waiting]
    assert followers[0].stdout is not None
    first = followers[0].stdout.readline()
    server.kill()
    time.sleep(3)
    server.start()
    said = [running.ended_well()]
    texts = []
    for follower in followers:
        out, err = follower.communicate(timeout=PATIENCE)
        assert follower.returncode == 0, err
        said.append(err.decode())
        texts.append(out)
    assert (first + texts[0]).split() == [b"%d" % number for number in range(1, 21)]
    for one in said:
        lines = [line.partition(" (")[0] for line in one.splitlines()]
        assert [line for line in lines if "the bus" in line] == [AWAY, BACK]


def test_a_bus_that_lost_everything_is_set_up_again(site: Site, server: NatsServer) -> None:
    """On the same port, with an empty store: services make what they need, and new commands work."""
    server.kill()
    shutil.rmtree(server.folder / "jetstream")
    server.start()
    until(lambda: works(site), 60)
    assert "\tonline\t" in site.ok("executors")


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_that_somebody_removed_is_made_again(stream: str, site: Site, server: NatsServer) -> None:
    """While the bus stays: nothing tells the services but their own calls."""

    async def remove() -> None:
        bus = await JetStreamBus.open(
            [server.url],
            {"user": USER, "password": PASSWORD},
            user=USER,
            name="test",
            connect_timeout=5.0,
            publish_retry=5.0,
        )
        await bus._admin._api.call(f"STREAM.DELETE.{stream}")
        await bus.close()

    assert works(site)
    asyncio.run(remove())
    until(lambda: works(site), 60)
