"""What an answer of sbatch means, from recorded and from possible ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qme_executor_slurm import answers
from qme_executor_slurm.answers import Accepted, Failed, Verdict

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "recorded/refusals.json").read_text())
FAILED = "sbatch: error: Batch job submission failed: "
POLICY = f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n"

#: recorded answers that are no refusals, by a part of what they say
NOT_REFUSED = {
    "Unable to contact slurm controller (connect failure)": Verdict.LATER,
    "Protocol authentication error": Verdict.LATER,
    "There is a problem talking to the database": Verdict.LATER,
    "Socket timed out on send/recv operation": Verdict.UNCLEAR,
}


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["stderr"].splitlines()[-1][:60])
def test_recorded_refusals_are_told_from_troubles(case: dict[str, Any]):
    """Every sentence of a real sbatch has its verdict, and its words are kept."""
    found = answers.read(case["stdout"], case["stderr"], case["returncode"])
    assert isinstance(found, Failed)
    expected = [verdict for said, verdict in NOT_REFUSED.items() if said in case["stderr"]]
    assert found.verdict is (expected[0] if expected else Verdict.REFUSED)
    assert found.reason
    assert "sbatch: " not in found.reason


@pytest.mark.parametrize(
    ("stdout", "job"),
    [
        ("42\n", Accepted(42)),
        ("42;far\n", Accepted(42, "far")),
        ("Submitted batch job 42\n", Accepted(42)),
        ("Submitted batch job 42 on cluster far\n", Accepted(42, "far")),
        ("*** Welcome, 3 jobs of yours are running ***\n42\nRemember to book your holidays\n", Accepted(42)),
        ("42\n42\n", Accepted(42)),
        ("  42 \r\n", Accepted(42)),
    ],
)
@pytest.mark.parametrize("returncode", [0, 3, None])
def test_a_named_job_counts(stdout: str, job: Accepted, returncode: int | None):
    """Whatever a site prints around it, and however sbatch ended afterwards."""
    assert answers.read(stdout, "sbatch: warning of the site\n", returncode) == job


@pytest.mark.parametrize(
    "stdout", ["7\n42\n", "42\n7\n", "Submitted batch job 7\nSubmitted batch job 42\n", "42\n42;far\n"]
)
def test_several_numbers_name_no_job(stdout: str):
    """A wrapper's own number is not to be taken for the job's: the marker tells which it is."""
    found = answers.read(stdout, "", 0)
    assert isinstance(found, Failed)
    assert found.verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("stderr", "returncode", "verdict"),
    [
        (f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}", 1, Verdict.LATER),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}", 1, Verdict.LATER),
        (f"sbatch: error: AssocGrpSubmitJobsLimit\n{POLICY}", 1, Verdict.LATER),
        (POLICY, 1, Verdict.LATER),
        (f"sbatch: error: QOSMaxCpuPerJobLimit\n{POLICY}", 1, Verdict.REFUSED),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}", 1, Verdict.REFUSED),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
            f"{FAILED}Resource temporarily unavailable\n",
            1,
            Verdict.LATER,
        ),
        (f"{FAILED}Invalid account or account/partition combination specified\n", 1, Verdict.REFUSED),
        (f"{FAILED}Invalid qos specification\n", 1, Verdict.REFUSED),
        (f"sbatch: error: the site wants --time\n{FAILED}Unspecified error\n", 1, Verdict.UNCLEAR),
        (f"{FAILED}Zero Bytes were transmitted or received\n", 1, Verdict.UNCLEAR),
        (f"{FAILED}Unable to contact slurm controller (receive failure)\n", 1, Verdict.UNCLEAR),
        (f"{FAILED}a sentence of the next version\n", 1, Verdict.UNCLEAR),
        ("sbatch: fatal: Could not establish a configuration source\n", 1, Verdict.LATER),
        ("sbatch: error: a sentence of the next version\n", 255, Verdict.REFUSED),
        ("sbatch: error: a sentence of the next version\n", 1, Verdict.UNCLEAR),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n",
            -9,
            Verdict.UNCLEAR,
        ),
        ("sbatch: error: Invalid --time specification\n", None, Verdict.UNCLEAR),
        ("sbatch: error: Invalid --time specification\n", -15, Verdict.UNCLEAR),
        ("sbatch: error: Invalid --time specification, ignored\n", 0, Verdict.UNCLEAR),
        ("", 1, Verdict.UNCLEAR),
        ("", 0, Verdict.UNCLEAR),
    ],
)
def test_what_is_not_known_is_unclear(stderr: str, returncode: int | None, verdict: Verdict):
    """Limits on numbers of jobs pass; an unknown sentence, a signal or silence may hide a job."""
    found = answers.read("", stderr, returncode)
    assert isinstance(found, Failed)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("stderr", "returncode", "unknown"),
    [
        (
            f"sbatch: error: no budget\n{FAILED}Unspecified error\n",
            1,
            "Batch job submission failed: Unspecified error",
        ),
        ("sbatch: error: no budget\n", 1, "no budget"),
        (f"{FAILED}Socket timed out on send/recv operation\n", 1, None),
        (f"{FAILED}Unable to contact slurm controller (receive failure)\n", 1, None),
        (f"{FAILED}Zero Bytes were transmitted or received\n", 1, None),
        (f"{FAILED}Connection reset by peer\n", 1, None),
        (f"{FAILED}Invalid qos specification\n", 1, None),
        ("sbatch: error: no budget\n", None, None),
        ("", 1, None),
    ],
)
def test_a_sites_own_sentence_is_told_from_a_bad_line(
    stderr: str, returncode: int | None, unknown: str | None
):
    """Only the former is a refusal when it comes again."""
    found = answers.read("", stderr, returncode)
    assert isinstance(found, Failed)
    assert found.unknown == unknown


def test_the_reason_is_sbatchs_own_words_in_one_line():
    """All lines are kept, without the program's name."""
    found = answers.read(
        "", f"sbatch: error: invalid partition specified: x\n{FAILED}Invalid partition name\n", 1
    )
    assert found == Failed(
        Verdict.REFUSED, "invalid partition specified: x; Batch job submission failed: Invalid partition name"
    )
