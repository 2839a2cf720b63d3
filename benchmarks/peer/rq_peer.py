"""RQ on Redis."""

import sys
import time
from importlib.metadata import version

import common
import redis
import rq


def work():
    """Run the command."""
    return common.command()


def _wait(job):
    while job.get_status(refresh=True) != "finished":
        time.sleep(0.002)


if __name__ == "__main__":
    queue = rq.Queue(connection=redis.Redis.from_url(common.URL))
    argv = [f"{sys.prefix}/bin/rq", "worker-pool", "-n", str(common.TOGETHER), "-u", common.URL]
    with common.worker(*argv):

        def many(count):
            """Submit all, then wait."""
            for job in [queue.enqueue("rq_peer.work") for _ in range(count)]:
                _wait(job)

        measured = common.clock(lambda: _wait(queue.enqueue("rq_peer.work")), many)
    common.tell(f"RQ {version('rq')} on Redis", measured)
