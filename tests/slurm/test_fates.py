"""The table of Slurm tasks, run through the real `qme` on a real Slurm: what a person finds in the record."""

from __future__ import annotations

import getpass
import os
import platform
import re
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster
from tests.slurm.fates import Fate
from tests.slurm.page import page
from tests.slurm.poller import Poller
from tests.slurm.running import Run, prepare
from tests.slurm.table import FATES

from qme_executor_slurm.jobs import Job

#: the whole table runs before the first test
pytestmark = pytest.mark.timeout(900)
#: as a node of the lab calls itself
HOST = platform.node().split(".")[0]
ROOT = Path(__file__).parents[2]
#: `make soak` runs those rows too over which Slurm itself takes long
ROWS = [fate for fate in FATES if not fate.slow or os.environ.get("QME_TEST_ALL")]
JOBS = [fate for fate in ROWS if fate.state is not None]
#: what differs from run to run in what Slurm writes
VARYING = (
    (r"\d{4}-\d\d-\d\dT[\d:]+", "{time}"),
    (r"slurmstepd-n[12]\b", "slurmstepd-{node}"),
    (r"\bON n[12]\b", "ON {node}"),
    (r"error: n[12]: task", "error: {node}: task"),
    (r"\(\d+ > ", "({bytes} > "),
    (r"/\S+/slurm_script\b", "{script}"),
    (r"\bJOB \d+\b", "JOB {job}"),
    (r"\bStepId=\d+", "StepId={job}"),
    (r"\bby uid \d+", "by uid {uid}"),
)


@pytest.fixture(scope="module")
def table(qme: Stack, slurm: Cluster) -> Run:
    """The rows after their ends."""
    folder = slurm.work / "rows"
    prepare(folder)
    run = Run(qme, slurm, folder)
    run.all(ROWS)
    return run


@pytest.fixture(scope="module")
def accounted(slurm: Cluster, table: Run) -> dict[str, Job]:
    """Their jobs as seen by a poller that came when the controller had forgotten them."""
    poller = Poller(slurm)
    for fate in JOBS:
        uuid = table.uids[fate.name].removeprefix("slurm-")
        poller.add(table.job(fate.name), slurm.since, (uuid, 1))
    poller.until(lambda jobs: all(job.ending for job in jobs), queue=False)
    return {fate.name: poller.jobs[table.job(fate.name)] for fate in JOBS}


def found(table: Run, fate: Fate) -> dict[str, Any]:
    """What a record says, without what differs from run to run."""
    record = table.records[fate.name]
    data = record["data"]
    return {
        "status": record["status"],
        "outcome": record["outcome"],
        "code": data.get("returncode"),
        "state": data.get("slurm_state"),
        "waited": table.waited.get(fate.name, ""),
        "reason": steady(record["reason"] or ""),
        "output": steady("".join(data.get("output", []))),
        "error": steady("".join(data.get("error", []))),
        "outputfile": data.get("outputfile"),
        "errorfile": data.get("errorfile"),
        "restarts": data.get("restarts", 0),
        "counts": {name: count for name, count in data.get("array", {}).items() if isinstance(count, int)},
        "files": {name: (table.folder / name).read_text() for name in filled(table, fate, *fate.files)},
    }


def expected(table: Run, fate: Fate) -> dict[str, Any]:
    """What it has to say."""
    outputfile, errorfile = filled(table, fate, fate.outputfile, fate.errorfile or fate.outputfile)
    paths = [str(table.folder / path) for path in (outputfile, errorfile)]
    return {
        "status": "cancelled" if fate.outcome == "cancelled" else "complete",
        "outcome": fate.outcome,
        "code": fate.code,
        "state": fate.state,
        "waited": fate.waits,
        "reason": fate.reason.replace("{user}", getpass.getuser()),
        "output": fate.output,
        "error": fate.error,
        "outputfile": paths[0] if fate.state else None,
        "errorfile": paths[1] if fate.state else None,
        "restarts": fate.restarts,
        "counts": dict(fate.counts),
        "files": dict(zip(filled(table, fate, *fate.files), fate.files.values(), strict=True)),
    }


def steady(text: str) -> str:
    """Give a text with names for what differs from run to run."""
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text


def filled(table: Run, fate: Fate, *texts: str) -> list[str]:
    """Fill in a row's job and user."""
    job = str(table.records[fate.name]["data"].get("jobid"))
    values = {"{job}": job, "{padded}": job.zfill(8), "{user}": getpass.getuser(), "{host}": HOST}
    return [re.sub(r"\{\w+\}", lambda name: values[name[0]], text) for text in texts]


@pytest.mark.parametrize("fate", ROWS, ids=str)
def test_a_task_ends_as_its_job(fate: Fate, table: Run):
    """Status, outcome, exit code, Slurm's state, reason, output and where it stands: all that a row says."""
    assert found(table, fate) == expected(table, fate)


@pytest.mark.parametrize("fate", JOBS, ids=str)
def test_accounting_tells_the_same_end(fate: Fate, table: Run, accounted: dict[str, Job]):
    """A worker that comes back after the controller forgot the job reads the same ending from sacct."""
    job = accounted[fate.name]
    assert job.ending is not None
    assert job.ending.state == fate.state
    assert job.ending.returncode == (fate.code if fate.accounted is None else fate.accounted)
    assert {**job.counts(), "total": 1} == {**dict(fate.counts), "total": 1} or not fate.counts


def test_the_page_is_printed_from_the_table():
    """docs/slurm-jobs.md holds what the table holds."""
    assert (ROOT / "docs/slurm-jobs.md").read_text() == page()
