"""What is read, and decided, while Slurm's daemons are away, hung, or lose a node."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.poller import Poller

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import answers, lookup, queries, sbatch
from qme_executor_slurm.answers import Failed, Verdict
from qme_executor_slurm.lookup import Found
from qme_executor_slurm.polling import Rules

#: as the defaults, for people in a hurry
HASTY = Rules(young=0, lost_after=0, requeue=3600)


def test_a_controller_that_hangs_may_have_taken_the_job(slurm: Cluster):
    """Socket time-outs and a killed sbatch are unclear, and rightly so: both jobs exist, and carry their markers."""
    first, second = str(uuid4()), str(uuid4())

    def submit(uuid: str, timeout: float) -> answers.Accepted | answers.Failed:
        argv = sbatch.build(["sbatch", "-H", "--wrap", "true"], sbatch.marker(uuid, 1)).argv
        return slurm.submit(*argv[1:], timeout=timeout)

    with slurm.hung("slurmctld"), ThreadPoolExecutor() as pool:
        timed_out, killed = pool.submit(submit, first, 60), pool.submit(submit, second, 2)
        found = [timed_out.result(), killed.result()]
    wait_until(lambda: lookup.find(first, 1, slurm.queue()) and lookup.find(second, 1, slurm.queue()))
    rows = slurm.queue()
    slurm.cancel_all()
    assert [answer.verdict for answer in found if isinstance(answer, Failed)] == [
        Verdict.UNCLEAR,
        Verdict.UNCLEAR,
    ]
    assert "Socket timed out on send/recv operation" in getattr(found[0], "reason", "")
    assert len(lookup.find(first, 1, rows)) == len(lookup.find(second, 1, rows)) == 1


def test_a_controller_that_is_away_takes_no_job(slurm: Cluster):
    """A refused connection is no ambiguity: try again later. scontrol ping says so without waiting."""
    with slurm.without("slurmctld"):
        began = time.monotonic()
        assert slurm.run(queries.ping()).returncode == 1
        assert time.monotonic() - began < 2
        answer = slurm.submit("--parsable", "--wrap", "true")
    assert answer == Failed(Verdict.LATER, answer.reason if isinstance(answer, Failed) else "")


def test_without_munge_nothing_is_submitted(slurm: Cluster):
    """A client that can't say who it is has submitted nothing."""
    with slurm.without("munged"):
        answer = slurm.submit("--parsable", "--wrap", "true")
    assert isinstance(answer, Failed)
    assert answer.verdict is Verdict.LATER


def test_endings_need_no_accounting_while_the_controller_remembers(slurm: Cluster):
    """With slurmdbd away squeue tells the end; what it has forgotten stays open until accounting is back."""
    remembered, forgotten = Poller(slurm, HASTY), Poller(slurm, Rules(young=0))
    with slurm.without("slurmdbd"):
        before = datetime.now(UTC)
        job = slurm.sbatch("--wrap", "exit 5", mark="qme:dbd:1")
        for poller in (remembered, forgotten):
            poller.add(job, before, ("dbd", 1))
        remembered.until(lambda jobs: all(job.ending for job in jobs))
        for _ in range(HASTY.lost_cycles + 1):
            forgotten.cycle(queue=False)
        assert forgotten.jobs[job].ending is None
    forgotten.until(lambda jobs: all(job.ending for job in jobs), queue=False)
    for poller in (remembered, forgotten):
        ending = poller.jobs[job].ending
        assert ending is not None
        assert (ending.outcome, ending.returncode) == (Outcome.FAILED, 5)


def test_a_lost_node_counts_unless_slurm_runs_the_job_again(slurm: Cluster):
    """NODE_FAIL ends the job that may not be requeued; the other one is queued again under its id."""
    poller = Poller(slurm, HASTY)
    words = {"final": ("--no-requeue",), "again": ("--requeue",)}
    ids = {}
    for name, given in words.items():
        before = datetime.now(UTC)
        ids[name] = slurm.sbatch("-w", "n2", *given, "--wrap", "sleep 60", mark=f"qme:{name}:1")
        poller.add(ids[name], before, (name, 1))
    poller.until(lambda jobs: all(job.status is Status.RUNNING and job.started for job in jobs))
    slurm.ok(["scontrol", "update", "nodename=n2", "state=down", "reason=test"])
    try:
        poller.until(lambda jobs: any(job.ending for job in jobs))
        final, again = poller.jobs[ids["final"]], poller.jobs[ids["again"]]
        assert final.ending is not None
        assert (final.ending.outcome, final.ending.returncode, final.ending.fault) == (
            Outcome.NODE_FAIL,
            1,
            "infra",
        )
        assert (again.status, again.parts[str(again.id)].restarts) == (Status.QUEUED, 1)
    finally:
        slurm.cancel_all()
        wait_until(lambda: "idle" in slurm.ok(["sinfo", "-h", "-n", "n2", "-o", "%T"]))


def test_an_element_cancelled_before_its_start_leaves_no_trace(slurm: Cluster):
    """No list shows it any more, and it is known to be cancelled all the same; the rest of the array goes on."""
    poller = Poller(slurm, HASTY)
    before = datetime.now(UTC)
    job = slurm.sbatch("-H", "-a", "0-2", "--wrap", "true", mark="qme:element:1")
    poller.add(job, before, ("element", 1))
    poller.cycle()
    slurm.ok(queries.cancel([f"{job}_1"]))
    poller.until(lambda jobs: all(job.counts().get("cancelled") for job in jobs))
    slurm.ok(["scontrol", "release", str(job)])
    poller.until(lambda jobs: all(job.ending for job in jobs))
    assert poller.jobs[job].counts() == {"total": 3, "success": 2, "cancelled": 1}


def test_a_job_that_nobody_knows_is_lost_after_a_while(slurm: Cluster):
    """Both lists answered, several times, and neither knows it."""
    poller = Poller(slurm, HASTY)
    poller.add(999_999, datetime.now(UTC), ("nobody", 1))
    for _ in range(HASTY.lost_cycles - 1):
        poller.cycle()
        assert poller.jobs[999_999].ending is None
    poller.cycle()
    ending = poller.jobs[999_999].ending
    assert ending is not None
    assert (ending.status, ending.reason) == (Status.LOST, "lost: neither squeue nor sacct knows it")


def test_a_controller_that_lost_its_state_gives_ids_anew(slurm: Cluster):
    """A row that was submitted before our call is another job with the same id, and is not followed."""
    before = datetime.now(UTC)
    job = slurm.sbatch("-H", "--wrap", "true", mark="qme:other:1")
    poller = Poller(slurm, HASTY)
    poller.add(job, before, ("ours", 1))
    poller.cycle()
    slurm.cancel_all()
    assert poller.jobs[job].parts[str(job)].misses == 1
    assert lookup.find("ours", 1, slurm.queue()) == []
    assert lookup.find("other", 1, slurm.queue()) == [Found(job)]
