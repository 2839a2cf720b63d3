"""A job is found again by its marker, whatever the user's own words are; and its files are where Slurm says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from uuid import uuid4

import pytest
from tests.slurm.cluster import Cluster, wait_until

from qme.contracts import sbatch_words
from qme_executor_slurm import lookup, parsers, queries, sbatch
from qme_executor_slurm.answers import Accepted
from qme_executor_slurm.lookup import Found

SCRIPT = "#!/bin/sh\n#SBATCH --comment='from the script' -J mine\ntrue\n"
#: words, variables, script, and the comment that people see in front of the marker
CASES: dict[str, tuple[tuple[str, ...], Mapping[str, str], str, str]] = {
    "none": (("--wrap", "true"), {}, "", ""),
    "on the command line": (("--comment=mine, too", "--wrap", "true"), {}, "", "mine, too "),
    "in two words, shortened": (("--comm", "mine", "--wrap", "true"), {}, "", "mine "),
    "twice": (("--comment=a", "--comment", "b", "--wrap", "true"), {}, "", "b "),
    "empty": (("--comment=", "--wrap", "true"), {}, "", ""),
    "of two lines": (("--comment=a|b\n1\x1e2", "--wrap", "true"), {}, "", "a|b\n1\x1e2 "),
    "in the script": ((), {}, SCRIPT, "from the script "),
    "in both": (("--comment=mine",), {}, SCRIPT, "mine "),
    "of a heterogeneous job": (("-n1", ":", "-n1", "--comment=second", "--wrap", "true"), {}, "", ""),
    "in the environment": (("--wrap", "true"), {"SBATCH_COMMENT": "of the env"}, "", "of the env "),
}


@pytest.mark.parametrize("case", CASES)
def test_the_marker_stands_behind_the_users_comment(slurm: Cluster, case: str):
    """The controller shows it at once, and the look-up finds the one job that has it."""
    words, env, script, theirs = CASES[case]
    uuid = str(uuid4())
    job = slurm.sbatch("-H", *words, mark=sbatch.marker(uuid, 3), env=env, stdin=script)
    rows = slurm.queue()
    slurm.cancel_all()
    leader = next(row for row in rows if row.id.job == job and not row.id.component)
    assert leader.comment == f"{theirs}{sbatch.marker(uuid, 3)}"
    assert lookup.find(uuid, 3, rows) == [Found(job)]
    assert lookup.find(uuid, 30, rows) == []


def test_accounting_alone_finds_the_job_too(slurm: Cluster):
    """A job that squeue has forgotten is found by its command line or its comment, the moment accounting has it."""
    uuid = str(uuid4())
    job = slurm.sbatch("--comment=mine", "--wrap", "sleep 1", mark=sbatch.marker(uuid, 1))

    def found() -> list[Found]:
        text = slurm.ok(queries.sacct_all(slurm.since, uid=os.getuid()))
        return lookup.find(uuid, 1, [], parsers.accounting(text))

    wait_until(found)
    assert found() == [Found(job)]


def test_the_record_of_a_refused_job_is_known_as_such(slurm: Cluster):
    """A job that no node could hold is refused, uses up an id and leaves a row with the marker: no job to follow."""
    uuid = str(uuid4())
    argv = sbatch.build(["sbatch", "--mem=100G", "--wrap", "true"], sbatch.marker(uuid, 1)).argv
    assert not isinstance(slurm.submit(*argv[1:]), Accepted)
    (found,) = lookup.find(uuid, 1, slurm.queue())
    assert found.refused


def test_the_script_is_found_where_sbatch_finds_it(slurm: Cluster):
    """The word that we take for the script is the one that Slurm ran, with options of all forms before it."""
    script = slurm.work / "job.sh"
    script.write_text("#!/bin/sh\ntrue\n")
    words = [
        "sbatch",
        "-Hn1",
        "-p",
        "main",
        "--time",
        "5",
        "--nice",
        "--exclusive=user",
        "-J",
        "x.sh",
        "job.sh",
        "-p",
        "y.sh",
    ]
    assert sbatch_words.script_word(words) == "job.sh"
    assert sbatch_words.read(words[1:]).value("partition") == "main"
    job = slurm.sbatch(*words[1:], mark="qme:script:1")
    (found,) = slurm.details(str(job)) or []
    slurm.cancel_all()
    assert found.fields["Command"] == f"{script} -p y.sh"
