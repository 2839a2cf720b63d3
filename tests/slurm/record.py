"""Record what a real Slurm prints, for the tests of the parsers (`services/executor-slurm/tests/recorded`).

``python -m tests.slurm.record``, as root on Debian with Slurm installed, takes two minutes. Names of this machine, its
folders and its user are replaced; look at the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.refusals import REFUSALS
from tests.slurm.table import DONE_TO, ENDINGS, GREEDY, PARTS

from qme_executor_slurm import queries

RECORDED = Path(__file__).parents[2] / "services/executor-slurm/tests/recorded"
WRAP = ("--wrap", "true")
LONG = ("--wrap", "sleep 300")

#: jobs that wait, or live on, until they are cancelled
LIVING: dict[str, tuple[str, ...]] = {
    "held": ("-H", *WRAP),
    "later": ("--begin=now+1hour", *WRAP),
    "too-many-cpus": ("-n", "100", *WRAP),
    "too-long": ("-p", "short", "-t", "1:00:00", *WRAP),
    "partition-down": ("-p", "closed", *WRAP),
    "running": LONG,
    "suspended": LONG,
    "array-limited": ("-a", "0-5%2", *LONG),
    "array-held": ("-a", "0-200:2%3", "-H", *WRAP),
    "het-running": ("-n1", ":", "-n1", *LONG),
    "requeued-held": LONG,
    "special-exit": LONG,
    "over-two-lines": ("-H", "--comment=a|b\nc", "--job-name=JobState=FAILED x", *WRAP),
}
#: jobs that end by themselves or by what is done below
ENDING: dict[str, tuple[str, ...]] = {
    "time-limit": ("-t", "1", *LONG),
    "out-of-memory": ("--mem=20", "--wrap", GREEDY),
    "deadline": ("--deadline=now+5", *LONG),
    "node-fail": ("-w", "n2", "--no-requeue", *LONG),
    "node-fail-requeued": ("-w", "n2", "--requeue", "--wrap", "[ $SLURM_RESTART_COUNT ] || sleep 300"),
    "preempted": ("-p", "low", "-n", "6", "--no-requeue", *LONG),
    "preempted-requeued": (
        "-p",
        "again",
        "-n",
        "8",
        "--requeue",
        "--wrap",
        "[ $SLURM_RESTART_COUNT ] || sleep 300",
    ),
}
PARTITIONS = """PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=closed Nodes=n1 State=DOWN
PartitionName=low Nodes=n1 PriorityTier=1 PreemptMode=CANCEL
PartitionName=again Nodes=n1 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=n1 PriorityTier=9"""


def main() -> None:
    """Bring up a cluster, run everything, write the files."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        variables = {"SLURM_LAB_EXTRA": PARTITIONS, "SLURM_LAB_MEMORY": "cgroup"}
        slurm = Cluster(Path(folder, "cluster"), work, **variables)
        slurm.up()
        try:
            record(slurm)
        finally:
            slurm.down()


def record(slurm: Cluster) -> None:
    """Run the jobs and take down what is said of them while they live, and after their ends."""
    ids = {name: slurm.sbatch(*words, mark=f"qme:{name}:1") for name, words in ENDING.items()}
    running(slurm, *(ids[name] for name in ENDING if name not in {"deadline", "out-of-memory"}))
    ids["high"] = slurm.sbatch("-p", "high", "-n", "14", *WRAP, mark="qme:high:1")
    wait_until(lambda: states(slurm, ids["preempted"]) == {"PREEMPTED"})
    slurm.ok(["scontrol", "update", "nodename=n2", "state=down", "reason=recorded"])
    wait_until(lambda: states(slurm, ids["node-fail"]) == {"NODE_FAIL"})
    ids |= {name: slurm.sbatch(*words, mark=f"qme:{name}:1") for name, words in LIVING.items()}
    ids["depends"] = slurm.sbatch("-d", f"afterok:{ids['held']}", *WRAP, mark="qme:depends:1")
    ids["depends-never"] = slurm.sbatch(
        "-d", f"afterok:{ids['node-fail']}", *WRAP, mark="qme:depends-never:1"
    )
    running(
        slurm,
        *(ids[name] for name in ("suspended", "requeued-held", "special-exit", "running", "het-running")),
    )
    slurm.ok(["scontrol", "suspend", str(ids["suspended"])])
    slurm.ok(["scontrol", "requeuehold", str(ids["requeued-held"])])
    slurm.ok(["scontrol", "requeuehold", "state=SpecialExit", str(ids["special-exit"])])
    for fate in (*ENDINGS, *DONE_TO, *PARTS):
        if not (fate.act or fate.options or fate.waits_for_another or fate.name in ENDING):
            ids[fate.name] = slurm.sbatch(*fate.words, mark=f"qme:{fate.name}:1", stdin=fate.script)
    wait_until(lambda: states(slurm, ids["time-limit"]) == {"TIMEOUT"}, timeout=120)
    wait_until(lambda: states(slurm, ids["deadline"]) == {"DEADLINE"}, timeout=120)
    wait_until(lambda: states(slurm, ids["preempted-requeued"]) == {"COMPLETED"}, timeout=120)
    snapshot(slurm, "living", ids["suspended"], ids["array-held"])
    slurm.cancel_all()
    wait_until(lambda: not any(row.state in {"PENDING", "RUNNING"} for row in slurm.queue()))
    time.sleep(15)  # accounting follows; there is nothing to wait for that would not be what is recorded
    snapshot(
        slurm,
        "ended",
        *(ids[name] for name in ("exit-3", "array", "het", "over-two-lines", "comment-in-script")),
    )
    refusals(slurm)


def running(slurm: Cluster, *jobs: int) -> None:
    """Wait until these jobs run."""
    for job in jobs:
        wait_until(lambda job=job: states(slurm, job) == {"RUNNING"})  # type: ignore[misc]


def states(slurm: Cluster, job: int) -> set[str]:
    """The states of a job's parts."""
    return {row.state for row in slurm.queue() if row.id.job == job}


def snapshot(slurm: Cluster, name: str, *shown: int) -> None:
    """Take down all three commands' output."""
    write(slurm, f"{name}.squeue", slurm.ok(queries.squeue()))
    write(slurm, f"{name}.sacct", slurm.ok(queries.sacct_all(slurm.since, uid=os.getuid())))
    write(slurm, f"{name}.scontrol", "".join(slurm.ok(queries.show(str(job))) for job in shown))


def refusals(slurm: Cluster) -> None:
    """Take down what sbatch says to what it can't submit."""
    found = [answer(slurm, fate.words, fate.script) for fate in REFUSALS]
    for daemon in ("slurmctld", "munged", "slurmdbd"):
        words = ("-M", "qme", *WRAP) if daemon == "slurmdbd" else WRAP
        with slurm.without(daemon):
            found.append(answer(slurm, words))
    with slurm.hung("slurmctld"):
        found.append(answer(slurm, WRAP))
    write(slurm, "refusals.json", json.dumps(found, indent=1) + "\n")


def answer(slurm: Cluster, words: tuple[str, ...], script: str = "") -> dict[str, object]:
    """One sbatch and all that it answered."""
    done = slurm.run(["sbatch", "--parsable", *words], stdin=script, env=slurm.env)
    said = {"stdout": done.stdout, "stderr": done.stderr, "returncode": done.returncode}
    return {"words": words, "script": script, **said}


def write(slurm: Cluster, name: str, text: str) -> None:
    """Keep a text without what belongs to this machine."""
    replaced: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (re.escape(str(slurm.work)), "/home/ann/project"),
        (re.escape(str(slurm.directory)), "/cluster"),
        (r"AllocNode:Sid=\S+", "AllocNode:Sid=login1:1"),
        (r"\broot\(0\)", "ann(1000)"),
        (r"\broot\b", "ann"),
        (r"CANCELLED by 0", "CANCELLED by 1000"),
        (r"(127\.0\.0\.1|localhost):\d+", r"\1:6819"),
    ]
    for pattern, instead in replaced:
        text = re.sub(pattern, instead, text)
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / name).write_text(text)


if __name__ == "__main__":
    main()
