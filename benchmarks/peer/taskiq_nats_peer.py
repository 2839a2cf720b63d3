"""taskiq on NATS JetStream, results in its object store."""

import asyncio
import os
import sys
from importlib.metadata import version

import common
from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker

_URL = os.environ.get("PEER_URL") or common.URL
broker = PullBasedJetStreamBroker([_URL]).with_result_backend(NATSObjectStoreResultBackend(servers=[_URL]))


@broker.task(task_name="work")
async def work() -> int:
    """Run the command."""
    process = await asyncio.create_subprocess_exec(
        "/bin/true", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()
    return process.returncode


if __name__ == "__main__":
    os.environ["PEER_URL"] = common.URL
    argv = [f"{sys.prefix}/bin/taskiq", "worker", "taskiq_nats_peer:broker", "--workers", "1"]
    with common.worker(*argv, "--max-async-tasks", str(common.TOGETHER)), asyncio.Runner() as runner:
        runner.run(broker.startup())

        async def one():
            """Submit and wait."""
            await (await work.kiq()).wait_result(check_interval=0.005, timeout=120)

        async def many(count):
            """Submit all, then wait."""
            for task in [await work.kiq() for _ in range(count)]:
                await task.wait_result(check_interval=0.005, timeout=120)

        measured = common.clock(lambda: runner.run(one()), lambda count: runner.run(many(count)))
        runner.run(broker.shutdown())
    common.tell(f"taskiq-nats {version('taskiq-nats')}", measured)
