"""One of three NATS nodes is killed, frozen or restarted: all goes on, nothing is lost or started twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cluster.conftest import copies
from tests.cluster.everyday import ALL, Counting, everyday
from tests.cluster.nodes import Cluster, Node
from tests.cluster.site import Site

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(400)]

FAULTS: dict[str, Callable[[Node], None]] = {
    "killed": Node.kill,
    "frozen": Node.pause,
    "restarted": Node.restart,
}
#: with all pairs asked for: each node by its name; else the leader of a stream that a fault hurts most
VICTIMS = (
    dict.fromkeys(FAULTS, ("n1", "n2", "n3"))
    if ALL
    else {
        "killed": ("KV_qme_tasks",),
        "frozen": ("QME_TASKS",),
        "restarted": ("QME_LOGS",),
    }
)


def test_a_single_server_s_site_moves_to_three_nodes(grown: tuple[Site, str, str], cluster: Cluster) -> None:
    """By a backup and the setting `replicas`: all has three copies, what ended is there, and what was queued runs."""
    site, ended, queued = grown
    held = copies(cluster)
    assert {"QME_TASKS", "QME_LOGS", "QME_EVENTS", "KV_qme_tasks", "KV_qme_specs"} <= held.keys()
    assert set(held.values()) == {3}
    assert "QME_TASKS/shell_u-site" in held
    assert site.ok("logs", ended) == "before\n"
    site.ok("wait", queued, timeout=60)
    assert site.ok("logs", queued) == "queued before\n"


@pytest.mark.parametrize(
    ("fault", "victim"), [(fault, one) for fault, some in VICTIMS.items() for one in some]
)
def test_all_goes_on_with_one_node_down(
    fault: str, victim: str, site: Site, cluster: Cluster, tmp_path: Path
) -> None:
    """Everyday commands work, and a command that runs through it is seen whole and started once."""
    node = cluster.node(victim) if victim.startswith("n") else cluster.leader(victim)
    counting = Counting(site, tmp_path)
    FAULTS[fault](node)
    everyday(site)
    counting.ended_well()
