"""Real jobs, run to their ends: what the parsers and the poller's decisions make of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.fates import FATES, Fate
from tests.slurm.poller import Poller

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import queries
from qme_executor_slurm.jobs import Job


@pytest.fixture(scope="module")
def ended(slurm: Cluster) -> dict[str, Job]:
    """All jobs of the table after their ends, as a poller saw them through squeue."""
    poller = Poller(slurm)
    ids = {fate.name: submit(slurm, poller, fate) for fate in FATES}
    for fate in FATES:
        act(slurm, fate, ids[fate.name], poller)
    poller.until(lambda jobs: all(job.ending for job in jobs))
    return {name: poller.jobs[job] for name, job in ids.items()}


@pytest.fixture(scope="module")
def accounted(slurm: Cluster, ended: dict[str, Job]) -> dict[str, Job]:
    """The same jobs as seen by a poller that came when the controller had forgotten them."""
    poller = Poller(slurm)
    for job in ended.values():
        poller.add(job.id, job.submitted, job.mark)
    poller.until(lambda jobs: all(job.ending for job in jobs), queue=False)
    return {name: poller.jobs[job.id] for name, job in ended.items()}


def submit(slurm: Cluster, poller: Poller, fate: Fate) -> int:
    """Submit a job of the table and follow it."""
    before = datetime.now(UTC)
    job = slurm.sbatch(*fate.words, mark=f"qme:{fate.name}:1", stdin=fate.script)
    poller.add(job, before, (fate.name, 1))
    return job


def act(slurm: Cluster, fate: Fate, job: int, poller: Poller) -> None:
    """Do to a job what its row says, once it runs where it must."""
    if not fate.act:
        return
    if fate.act.endswith("running"):

        def there() -> bool:
            poller.cycle()
            parts = poller.jobs[job].parts.values()
            return all(part.started and part.status is not Status.QUEUED for part in parts)

        wait_until(there)
    if fate.act.startswith("cancel"):
        # An element that has ended before keeps its ending.
        wait_until(lambda: settled(poller, job, fate))
        slurm.ok(queries.cancel([str(job)]))
    else:
        slurm.ok(["scontrol", "requeue", str(job)])


def settled(poller: Poller, job: int, fate: Fate) -> bool:
    """Those of its parts that end by themselves have ended."""
    poller.cycle()
    found = poller.jobs[job].counts().get("success", 0)
    return found == fate.counts.get("success", 0)


@pytest.mark.parametrize("fate", FATES, ids=str)
def test_a_job_ends_as_slurm_says(fate: Fate, ended: dict[str, Job]):
    """State, outcome, exit code, restarts and the counts of its parts come out of squeue alone."""
    job = ended[fate.name]
    assert job.ending is not None
    assert (job.ending.state, job.ending.outcome, job.ending.returncode) == (
        fate.state,
        fate.outcome,
        fate.code,
    )
    assert job.status is (Status.CANCELLED if fate.outcome is Outcome.CANCELLED else Status.COMPLETE)
    if fate.counts:
        assert job.counts() == fate.counts
    assert max(part.restarts for part in job.parts.values()) == fate.restarts
    assert job.unknown == frozenset()


@pytest.mark.parametrize("fate", FATES, ids=str)
def test_accounting_tells_the_same_end(fate: Fate, ended: dict[str, Job], accounted: dict[str, Job]):
    """A worker that comes back after the controller forgot the job reads the same ending from sacct."""
    seen, read = ended[fate.name], accounted[fate.name]
    assert read.ending is not None
    assert seen.ending is not None
    assert (read.ending.state, read.ending.outcome) == (seen.ending.state, seen.ending.outcome)
    assert read.ending.returncode == (seen.ending.returncode if fate.accounted is None else fate.accounted)
    assert read.counts() == seen.counts()


def test_a_cancelled_job_names_who_did_it(accounted: dict[str, Job]):
    """Accounting keeps the uid of the canceller, and the reason says it."""
    ending = accounted["cancelled-running"].ending
    assert ending is not None
    assert ending.reason is not None
    assert ending.reason.startswith("the job was cancelled in Slurm by uid ")


def test_a_missing_output_folder_is_explained(ended: dict[str, Job]):
    """The one failure that leaves no output anywhere says why."""
    ending = ended["no-output-folder"].ending
    assert ending is not None
    assert (
        ending.reason == "Slurm could not open the job's output file, or enter its working directory (0:53)"
    )
