"""What sbatch answers when it submits nothing, in its own words on a real controller."""

from __future__ import annotations

import pytest
from tests.slurm.cluster import Cluster

from qme_executor_slurm import answers
from qme_executor_slurm.answers import Failed, Verdict

WRAP = ("--wrap", "true")
REFUSED = {
    "Invalid partition name specified": ("-p", "nosuch", *WRAP),
    "Requested node configuration is not available": ("--mem=100G", *WRAP),
    "Job dependency problem": ("-d", "afterok:x", *WRAP),
    "Invalid feature specification": ("-C", "nosuch", *WRAP),
    "Invalid node name specified": ("-w", "nosuch", *WRAP),
    "Invalid job array specification": ("-a", "9-1", *WRAP),
    "Invalid generic resource (gres) specification": ("--gres=nosuch", *WRAP),
    "Invalid license specification": ("-L", "nosuch", *WRAP),
    "Requested reservation is invalid": ("--reservation=nosuch", *WRAP),
    "Invalid time-min specification (exceeds job's time or other limits)": ("-t5", "--time-min=9", *WRAP),
    'Invalid numeric value "0" for --ntasks.': ("-n", "0", *WRAP),
    "Invalid --time specification": ("-t", "soon", *WRAP),
    "unrecognized option '--nosuch'": ("--nosuch", *WRAP),
    "invalid option -- 'Z'": ("-Z", *WRAP),
    "option requires an argument -- 'p'": ("-p",),
    "option '--hold' doesn't allow an argument": ("--hold=1", *WRAP),
    "option '--co=1' is ambiguous": ("--co=1", *WRAP),
    '"x" is not a valid node count': ("-N", "x", *WRAP),
    "Could not open user environment file /no/such/file": ("--export-file=/no/such/file", *WRAP),
    "No cluster 'nosuch' known by database.": ("-M", "nosuch", *WRAP),
    "Script arguments not permitted with --wrap option": (*WRAP, "more"),
    "Unable to open file nosuch.sh": ("nosuch.sh",),
}
SCRIPTS = {
    "Batch script is empty!": "",
    "Batch script contains only whitespace!": " \n\n",
    "This does not look like a batch script.": "echo hello\n",
    "contain a NULL character": "#!/bin/sh\n\0\n",
    "Batch script contains DOS line breaks": "#!/bin/sh\r\ntrue\r\n",
    "Invalid directive found in batch script: nosuch": "#!/bin/sh\n#SBATCH -H nosuch\n",
    'Unmatched `"` in': '#!/bin/sh\n#SBATCH --comment="open\n',
    "unrecognized option '--nosuch'": "#!/bin/sh\n#SBATCH --nosuch\n",
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_command_that_cannot_be_submitted_is_refused(slurm: Cluster, said: str):
    """Slurm's sentence is recognized, kept, and final."""
    answer = slurm.submit("--parsable", *REFUSED[said])
    assert isinstance(answer, Failed)
    assert answer.verdict is Verdict.REFUSED
    assert said in answer.reason


@pytest.mark.parametrize("said", SCRIPTS)
def test_a_script_that_cannot_be_submitted_is_refused(slurm: Cluster, said: str):
    """So is what sbatch says about a script."""
    answer = slurm.submit("--parsable", stdin=SCRIPTS[said])
    assert isinstance(answer, Failed)
    assert answer.verdict is Verdict.REFUSED
    assert said in answer.reason


def test_a_closed_partition_is_refused(slurm: Cluster):
    """A drained partition takes no jobs, and sbatch says so."""
    slurm.ok(["scontrol", "update", "partition=short", "state=drain"])
    try:
        answer = slurm.submit("--parsable", "-p", "short", *WRAP)
    finally:
        slurm.ok(["scontrol", "update", "partition=short", "state=up"])
    said = "Batch job submission failed: Required partition not available (inactive or drain)"
    assert answer == Failed(Verdict.REFUSED, said)


def test_a_quiet_sbatch_is_unclear(slurm: Cluster):
    """With --quiet it names no job, though there is one."""
    answer = slurm.submit("--quiet", "--parsable", "-H", *WRAP)
    slurm.cancel_all()
    assert answer == Failed(Verdict.UNCLEAR, "sbatch named no job")


def test_a_waiting_sbatch_names_its_job_whatever_its_exit_code(slurm: Cluster):
    """With --wait the exit code is the job's, and no sign of a failed submission."""
    assert isinstance(slurm.submit("--wait", "--parsable", "--wrap", "exit 4"), answers.Accepted)


def test_the_cluster_is_named_with_the_job(slurm: Cluster):
    """With --clusters the answer says where the job is."""
    answer = slurm.submit("--parsable", "-M", "qme", *WRAP)
    assert isinstance(answer, answers.Accepted)
    assert answer.cluster == "qme"
