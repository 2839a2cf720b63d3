"""HyperQueue, its server and worker inside of this process."""

from importlib.metadata import version

import common
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

if __name__ == "__main__":
    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=common.TOGETHER))
        client = cluster.client()

        def many(count):
            """Submit one job of so many tasks, and wait."""
            job = Job()
            for _ in range(count):
                job.program(["/bin/true"])
            client.wait_for_jobs([client.submit(job)])

        measured = common.clock(lambda: many(1), many)
    common.tell(f"HyperQueue {version('hyperqueue')}", measured)
