"""Jobs that are not ours, though they look like it: never adopted, never touched. Asked of a real Slurm, as root."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import UTC, datetime

import pytest
from tests.slurm.cluster import Cluster, wait_until
from tests.unit.worker.lab import until

from qme.contracts.tasks import TaskRecord
from qme.errors import NotFound
from qme.executor import Held
from qme_executor_slurm import SlurmExecutor, SlurmSettings, lookup, parsers
from qme_executor_slurm.jobs import Job

UUID = "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"


@pytest.fixture
def executor(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> SlurmExecutor:
    """An executor whose commands reach the cluster."""
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    return SlurmExecutor(SlurmSettings())


def by_nobody(slurm: Cluster, *words: str) -> int:
    """Submit a job as another account; its number."""
    # The cluster's files lie where only their owner may look: a way in for this one command.
    caps = "+dac_override,+dac_read_search"
    user = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        f"--inh-caps={caps}",
        f"--ambient-caps={caps}",
    ]
    place = ["-D", "/tmp", "-o", "/dev/null"]
    return int(slurm.ok(["setpriv", *user, "sbatch", *place, "--parsable", *words]))


async def test_a_forged_marker_is_not_adopted(slurm: Cluster, executor: SlurmExecutor) -> None:
    """Another user's job with our task's marker, alive and ended, is found by nobody; ours is."""
    since = datetime.now(UTC)
    mark = f"qme:{UUID}:1"
    line = (f"--comment={mark}", "--parsable", "--wrap", "true")
    forged = by_nobody(slurm, *line)
    by_nobody(slurm, "-H", *line)
    sacct = ["sacct", "-a", "-n", "-X", "-P", "-j", str(forged), "-o", "User,End,Comment"]
    ended = re.compile(rf"nobody\|\d{{4}}-.*\|{mark}\n")
    await asyncio.to_thread(wait_until, lambda: ended.fullmatch(slurm.ok(sacct)), 20)
    ask = executor.slurm
    assert lookup.find(UUID, 1, await ask.queue(None), await ask.all_accounts(since, None)) == []
    assert await ask.accounts([forged], since, None) == []
    own = slurm.sbatch("-H", "--wrap", "true", mark=mark)
    found = lookup.find(UUID, 1, await ask.queue(None), await ask.all_accounts(since, None))
    slurm.ok(["scancel", "--user=nobody"])
    slurm.cancel_all()
    assert [one.job for one in found] == [own]


@pytest.mark.parametrize("whose", ["nobody's", "our own"])
async def test_a_number_that_was_given_again(slurm: Cluster, executor: SlurmExecutor, whose: str) -> None:
    """A controller that lost its state gives numbers anew: whatever is asked, the other job goes on as it was."""
    words = ("-H", "--comment=mine", "--wrap", "true")
    other = (
        by_nobody(slurm, *words) if whose == "nobody's" else int(slurm.ok(["sbatch", "--parsable", *words]))
    )
    data = {"jobid": str(other), "submission": {"at": 1.7e9, "answered": 1.7e9 + 1}}
    record = TaskRecord(
        uid=f"slurm-{UUID}",
        executor="slurm",
        pool="u-ann",
        command="sbatch x",
        user="ann",
        created=datetime.fromtimestamp(1.7e9, UTC),
        data=data,
    )
    held = Held(record, None, None)
    for action in (executor.hold, executor.release, executor.requeue, executor.details):
        with pytest.raises(NotFound, match="another one"):
            await action(held)
    at = datetime.fromtimestamp(1.7e9, UTC)
    await executor.cancelling.end(Job(other, at, (UUID, 1), answered=at), None)
    details = slurm.details(str(other))
    slurm.ok(["scancel", str(other)])
    assert details is not None
    assert (details[0].state, details[0].fields["Reason"]) == ("PENDING", "JobHeldUser")


async def test_our_own_job_is(slurm: Cluster, executor: SlurmExecutor) -> None:
    """The same things, done to a job that carries the task's marker."""
    own = slurm.sbatch("-H", "--wrap", "true", mark=f"qme:{UUID}:1")
    assert await executor.slurm.details(str(own)) is not None
    assert os.getuid() == (await executor.slurm.details(str(own)) or [])[0].uid
    await executor.cancelling.end(Job(own, datetime.now(UTC), (UUID, 1)), None)
    details = slurm.details(str(own))
    assert details is not None
    assert details[0].state == "CANCELLED"


async def test_a_sacct_that_does_not_know_a_column(slurm: Cluster, executor: SlurmExecutor) -> None:
    """An older one refuses to answer at all: it is asked again without that column."""
    executor.slurm._columns = (*parsers.ACCOUNT_COLUMNS[:-1], "NotYetThere")
    job = slurm.sbatch("-H", "--wrap", "true", mark=f"qme:{UUID}:1")
    # Accounting learns of a job a moment later.
    rows = await until(lambda: executor.slurm.accounts([job], datetime.now(UTC), None))
    slurm.cancel_all()
    assert [row.id.job for row in rows] == [job]
    assert not executor.slurm.keeps_command_lines
