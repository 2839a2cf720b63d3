"""Celery on Redis, results kept."""

import os
import sys

import celery
import common

_URL = (os.environ.get("PEER_URL") or common.URL).replace("unix://", "redis+socket://")
app = celery.Celery("celery_peer", broker=_URL, backend=_URL)


@app.task
def work():
    """Run the command."""
    return common.command()


if __name__ == "__main__":
    os.environ["PEER_URL"] = common.URL
    argv = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "-c", str(common.TOGETHER)]
    with common.worker(*argv):
        # The worker knows the task by the module's name, not as __main__.
        from celery_peer import work as remote

        def many(count):
            """Submit all, then wait."""
            for result in [remote.delay() for _ in range(count)]:
                result.get(timeout=120)

        measured = common.clock(lambda: remote.delay().get(timeout=120), many)
    common.tell(f"Celery {celery.__version__} on Redis", measured)
