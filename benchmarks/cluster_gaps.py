"""How long three NATS nodes accept no write while the node that leads the records ends, dies or freezes: one row each.

    make bench-cluster

Real servers on loopback with the configuration of deploy/nats/cluster, and the bus adapter that every part of qme uses.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cluster.nodes import USERS, Cluster, Node

from qme.bus.jetstream import JetStreamBus
from qme.bus.topology import StreamSpec

ROUNDS = 3
FAULTS: dict[str, Callable[[Node], None]] = {
    "ends (SIGTERM)": Node.stop,
    "dies (kill -9)": Node.kill,
    "freezes (SIGSTOP)": Node.pause,
}


async def longest_gap(cluster: Cluster, fault: Callable[[Node], None]) -> float:
    """Write for 15 seconds, break the leader after one; give the longest time between two acknowledgements."""
    bus = await JetStreamBus.open(
        [node.url for node in cluster.nodes],
        {"user": "site", "password": USERS["site"]},
        user="site",
        name="bench",
        connect_timeout=5.0,
        publish_retry=60.0,
    )
    await bus.ensure([StreamSpec("BENCH", ("bench",), max_per_subject=1, replicas=3)])
    leader = await asyncio.to_thread(cluster.leader, "BENCH")
    begun = last = time.monotonic()
    longest, broken = 0.0, False
    while time.monotonic() < begun + 15:
        await bus.append("bench", b"")
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        if not broken and now > begun + 1:
            broken = True
            await asyncio.to_thread(fault, leader)
            last = time.monotonic()
    await bus.close()
    return longest


def main() -> None:
    """Print the table."""
    print("the leading node    longest time without a write, s")
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder) / "cluster") as cluster:
        for name, fault in FAULTS.items():
            gaps = []
            for _ in range(ROUNDS):
                gaps.append(asyncio.run(longest_gap(cluster, fault)))
                cluster.mend()
            print(f"{name:<18}  {'  '.join(f'{gap:.1f}' for gap in sorted(gaps))}")


if __name__ == "__main__":
    main()
