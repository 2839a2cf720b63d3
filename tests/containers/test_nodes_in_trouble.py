"""One of three NATS nodes in containers is paused, killed or cut off: qme goes on, and believes no such node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nats
import pytest
from tests.cluster.everyday import PATIENCE, Counting
from tests.cluster.nodes import USERS, ask_all
from tests.cluster.site import Site
from tests.integration.stack import until

if TYPE_CHECKING:
    from tests.containers.nodes import Node

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(300)]

#: what a node that is cut off may not lead: for ten seconds it would answer reads with what it knew
READ = ("KV_qme_tasks", "KV_qme_users")
#: exit code of a command that could not reach a bus that it believes
UNREACHABLE = 5


@contextmanager
def nothing_lost(site: Site, folder: Path) -> Iterator[None]:
    """A counting command runs through the context, ten tasks are submitted amid it; each runs once, and to its end."""
    counting = Counting(site, folder)
    with_marks = folder / "tasks"
    yield
    commands = "".join(f"echo {number} >> {with_marks}\n" for number in range(10))
    ids = site.ok("submit", "--file", "-", stdin=commands, timeout=PATIENCE).split()
    assert len(set(ids)) == 10
    assert site.ok("run", "echo", "hello", timeout=PATIENCE) == "hello\n"
    site.ok("wait", *ids, "--timeout", str(PATIENCE), timeout=PATIENCE)
    assert {record["outcome"] for record in site.records(ids)} == {"success"}
    assert sorted(with_marks.read_text().split()) == sorted(str(number) for number in range(10))
    counting.ended_well()


@pytest.mark.parametrize(("number", "trouble"), [(0, "pause"), (1, "kill"), (2, "cut")])
def test_work_goes_on_without_a_node(
    number: int, trouble: str, site: Site, nodes: list[Node], tmp_path: Path
) -> None:
    """While it is paused, killed, or off the network, and once it has joined again."""
    with nothing_lost(site, tmp_path):
        getattr(nodes[number], trouble)()
    nodes[number].mend()
    assert site.ok("run", "echo", "hello again", timeout=PATIENCE) == "hello again\n"


def test_a_node_without_its_cluster_is_not_believed(
    site: Site, nodes: list[Node], creds: Path, tmp_path: Path
) -> None:
    """Cut off from the others, it takes connections and answers reads; who may choose leaves it, who can't, says so.

    It led the whole cluster, and says for up to twenty seconds that it still does.
    """
    cut = max(nodes, key=lambda node: node.led_since())
    assert cut.led_since()
    until(lambda: leads_none(cut, nodes), 60)
    with nothing_lost(site, tmp_path):
        cut.separate()
    uid = site.ok("submit", "echo", "unknown to it", timeout=PATIENCE).strip()
    only = {"QME_NATS_URL": cut.url, "QME_PUBLISH_RETRY": "3", "QME_REQUEST_TIMEOUT": "6"}
    for words in (("get", uid), ("submit", "true"), ("cancel", uid)):
        done = site.qme(*words, env=only)
        assert done.returncode == UNREACHABLE, (words, done)
    cut.mend()
    until(lambda: site.qme("get", uid, env=only).returncode == 0, 60)
    assert site.ok("logs", uid, timeout=PATIENCE) == "unknown to it\n"


def leads_none(node: Node, nodes: list[Node]) -> bool:
    """Whether others lead all that is read there; those that it leads are given up.

    False while they are elected, as a node that has just joined again may have begun that.
    """
    streams = asyncio.run(ask_all(nodes[0]))
    led = {
        stream["config"]["name"]: stream["cluster"].get("leader")
        for stream in streams
        if stream["config"]["name"] in READ
    }
    asyncio.run(give_up(node, [stream for stream, leader in led.items() if leader == node.name]))
    return len(led) == len(READ) and not {None, node.name} & set(led.values())


async def give_up(node: Node, streams: list[str]) -> None:
    """Have these streams led by others."""
    connection = await nats.connect(node.url, user="site", password=USERS["site"])
    for stream in streams:
        await connection.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", timeout=10)
    await connection.close()
