"""Slurm tasks as a person meets them: the real `qme`, the embedded stack, a real Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.table import FATES
from tests.slurm.tasks import standing, submitted


def test_the_stack_brings_a_slurm_worker(qme: Stack):
    """Where there is an sbatch, `qme up` starts a worker for it, and sbatch commands go there."""
    assert any(line.startswith("worker-slurm\tonline") for line in qme.lines("status"))
    assert "slurm" in qme.ok("match", "/usr/bin/sbatch x.sh")
    assert "shell" in qme.ok("match", "sbatchx x.sh")


def test_run_shows_the_jobs_output(qme: Stack, slurm: Cluster):
    """`qme run sbatch` prints what the job writes and exits with its code; stray variables change nothing."""
    script = 'echo "to out on $SLURM_JOB_PARTITION"; echo to err >&2; exit 3'
    done = qme.qme("run", "sbatch", "-e", "%x-%j.err", "--wrap", script, cwd=slurm.work)
    assert (done.returncode, done.stdout) == (3, b"to out on main\n")
    assert b"to err\n" in done.stderr


def test_output_is_live(qme: Stack, slurm: Cluster):
    """A running job's output is there before the job ends, in `logs -f` too."""
    uid = submitted(qme, slurm, "--wrap", "echo first; while [ ! -e go ]; do sleep 0.1; done; echo second")
    with qme.start("logs", "-f", uid) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"first\n"
        wait_until(lambda: standing(qme, uid, status="running", slurm_state="RUNNING"), 5)
        (slurm.work / "go").touch()
        assert logs.stdout.read() == b"second\n"
    qme.ok("wait", uid)
    record = qme.record(uid)
    assert record["data"]["output"] == ["first\n", "second\n"]
    assert record["data"]["outputfile"] == str(slurm.work / f"slurm-{record['data']['jobid']}.out")


@pytest.mark.parametrize(
    "name", ["exit-42", "sigterm", "no-output-folder", "array", "own-time-limit", "waited-for", "bad-time"]
)
def test_run_exits_with_the_code_of_the_table(qme: Stack, slurm: Cluster, name: str):
    """`qme run` shows the output, gives the code, and says the reason, that the table of records has."""
    (fate,) = (fate for fate in FATES if fate.name == name)
    done = qme.qme("run", *fate.options, "sbatch", *fate.words, cwd=slurm.work)
    assert done.returncode == fate.code
    assert fate.reason in done.stderr.decode()
    assert bool(done.stdout) == bool(fate.output)


@pytest.mark.parametrize(
    ("word", "output"),
    [
        ('sbatch -J "two words" -o "%x.out" --wrap "echo quoted"', b"quoted\n"),
        ("sbatch --wrap 'echo a | tr a b'", b"b\n"),
    ],
)
def test_one_word(qme: Stack, slurm: Cluster, word: str, output: bytes):
    """A command in one word is split as a shell splits it."""
    done = qme.qme("run", word, cwd=slurm.work)
    assert (done.returncode, done.stdout) == (0, output)


def test_one_word_that_needs_a_shell(qme: Stack, slurm: Cluster):
    """There is no shell on the way to sbatch, and nothing is submitted."""
    done = qme.qme("run", "sbatch --wrap true && rm -r ~", cwd=slurm.work)
    assert done.returncode == 125
    assert b"shell" in done.stderr


def test_scripts_travel(qme: Stack, slurm: Cluster, tmp_path: Path):
    """A script comes from the folder, from stdin, or along with the task; its directives count, its arguments too."""
    script = '#!/bin/sh\n#SBATCH --comment="my own" -o %x.txt -J named\necho got "$1"\n'
    (tmp_path / "job.sh").write_text(script)
    here = qme.qme("run", "sbatch", "job.sh", "x y", cwd=tmp_path)
    assert (here.returncode, here.stdout) == (0, b"got x y\n")
    assert (tmp_path / "named.txt").read_text() == "got x y\n"
    stdin = qme.qme("run", "--stdin", "-", "sbatch", cwd=tmp_path, stdin=script)
    assert (stdin.returncode, stdin.stdout) == (0, b"got \n")
    there = tmp_path / "there"
    there.mkdir()
    elsewhere = str(tmp_path / "not-here/job.sh")
    sent = qme.qme("run", "--cwd", str(there), "--send", "job.sh", "sbatch", elsewhere, cwd=tmp_path)
    assert (sent.returncode, sent.stdout) == (0, b"got \n")
    comments = {row.comment for row in slurm.queue() if row.comment.startswith("my own qme:")}
    assert len(comments) == 3


def test_no_job(qme: Stack):
    """An sbatch that only prints something does that."""
    done = qme.qme("run", "sbatch", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"slurm")


def test_an_array(qme: Stack, slurm: Cluster):
    """One task for the array: elements are counted by outcome, the worst one speaks, each one's output can be read."""
    script = "echo element $SLURM_ARRAY_TASK_ID; exit $((SLURM_ARRAY_TASK_ID % 3))"
    uid = submitted(qme, slurm, "-a", "0-4", "--wrap", script)
    assert qme.qme("wait", uid).returncode == 2
    data = qme.record(uid)["data"]
    array = data["array"]
    assert {name: array[name] for name in ("total", "success", "failed")} == {
        "total": 5,
        "success": 2,
        "failed": 3,
    }
    assert qme.ok("exec", uid, "output", "element=4") == "element 4\n"
    assert b"ask for one element's output" in qme.qme("exec", uid, "output").stderr


def test_a_heterogeneous_job(qme: Stack, slurm: Cluster):
    """Its jobs are counted, but they have one output, and no numbers by which one could ask for it or end some."""
    uid = submitted(qme, slurm, "-n1", ":", "-n1", "--wrap", "echo hi")
    qme.ok("wait", uid)
    assert qme.record(uid)["data"]["array"]["total"] == 2
    assert qme.ok("exec", uid, "output") == "hi\n"
    assert b"is no array" in qme.qme("cancel", f"{uid}[0]").stderr


def test_actions_on_a_held_job(qme: Stack, slurm: Cluster):
    """Held, explained, released, requeued: by name, and seen in the record."""
    script = "echo run $SLURM_RESTART_COUNT; sleep 60"
    uid = submitted(qme, slurm, "-H", "-o", "held-%j.out", "--wrap", script)
    wait_until(lambda: standing(qme, uid, slurm_reason="JobHeldUser", status="queued"))
    assert qme.record(uid)["reason"] == "in Slurm's queue: JobHeldUser (held)"
    early = qme.qme("exec", uid, "output")
    assert early.returncode != 0
    assert b"does not exist (yet); the job is PENDING" in early.stderr
    outputs = json.loads(qme.ok("exec", uid, "outputs"))
    assert outputs["output"] is None
    assert "does not exist" in outputs["output_note"]
    qme.ok("exec", uid, "release")
    wait_until(lambda: qme.qme("exec", uid, "output").stdout == b"run\n")
    qme.ok("exec", uid, "requeue")
    wait_until(lambda: standing(qme, uid, restarts=1, status="queued"))
    qme.ok("exec", uid, "hold")
    wait_until(lambda: "JobHeld" in str(qme.record(uid)["data"]["slurm_reason"]))
    qme.ok("cancel", uid)
    qme.qme("wait", uid)
    assert qme.qme("exec", uid, "release").returncode == 2


def test_status_and_details(qme: Stack, slurm: Cluster):
    """The row of sacct as a dictionary, in the columns of the setting; and all that scontrol knows."""
    uid = submitted(qme, slurm, "-J", "mine", "--wrap", "echo one; echo two >&2")
    qme.ok("wait", uid)
    job = qme.record(uid)["data"]["jobid"]
    # Accounting learns the job's name, and its end, some seconds later.
    wait_until(lambda: json.loads(qme.ok("exec", uid, "status")).get("jobname") == "mine")
    wait_until(lambda: json.loads(qme.ok("exec", uid, "status")).get("state") == "COMPLETED")
    row = json.loads(qme.ok("exec", uid, "status"))
    assert list(row) == ["jobid", "jobname", "partition", "alloccpus", "elapsed", "state", "exitcode"]
    assert (row["jobid"], row["jobname"], row["exitcode"]) == (job, "mine", "0:0")
    details = json.loads(qme.ok("exec", uid, "details"))
    assert (details["JobId"], details["JobState"]) == (job, "COMPLETED")
    assert qme.ok("exec", uid, "error") == "one\ntwo\n"  # Slurm writes both into one file


def test_one_poller_for_all(qme: Stack, slurm: Cluster):
    """Many waiting jobs are followed by one worker, and ended by name."""
    uids = [submitted(qme, slurm, "-H", "--wrap", "true") for _ in range(5)]
    wait_until(lambda: all(standing(qme, uid, slurm_reason="JobHeldUser") for uid in uids))
    qme.ok("cancel", *uids)
    qme.qme("wait", *uids)
    assert all(standing(qme, uid, outcome="cancelled") for uid in uids)
