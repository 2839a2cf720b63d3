"""dramatiq on Redis, results kept."""

import os
import sys

import common
import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

client = redis.Redis.from_url(os.environ.get("PEER_URL") or common.URL)
broker = RedisBroker(client=client)
backend = RedisBackend(client=client)
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def work():
    """Run the command."""
    return common.command()


def _many(count):
    for message in [work.send() for _ in range(count)]:
        message.get_result(backend=backend, block=True, timeout=120_000)


if __name__ == "__main__":
    os.environ["PEER_URL"] = common.URL
    argv = [sys.executable, "-m", "dramatiq", "dramatiq_peer", "--processes", "2"]
    with common.worker(*argv, "--threads", str(common.TOGETHER // 2)):
        measured = common.clock(
            lambda: work.send().get_result(backend=backend, block=True, timeout=120_000), _many
        )
    common.tell(f"dramatiq {dramatiq.__version__} on Redis", measured)
