"""The command that is run: the user's words, a marker that survives them, and no wishes but the user's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts import sbatch_words
from qme_executor_slurm import sbatch

MARK = sbatch.marker("0199-uuid", 2)
SCRIPT = "#!/bin/sh\n#SBATCH --comment='of the script' --array=1-3\n#SBATCH -W\ntrue\n"


@pytest.mark.parametrize(
    ("words", "script", "env", "built"),
    [
        (
            ["-p", "main", "job.sh", "-x"],
            "",
            {},
            [f"--comment={MARK}", "--parsable", "-p", "main", "job.sh", "-x"],
        ),
        (
            ["--comment=mine", "job.sh"],
            SCRIPT,
            {},
            [f"--comment=mine {MARK}", "--parsable", f"--comment=mine {MARK}", "job.sh"],
        ),
        (
            ["--comm", "my own", "job.sh", "--comment=its"],
            "",
            {},
            [f"--comment=my own {MARK}", "--parsable", "--comm", f"my own {MARK}", "job.sh", "--comment=its"],
        ),
        (
            ["--comment=a", "--comment=b", "job.sh"],
            "",
            {},
            [f"--comment=b {MARK}", "--parsable", "--comment=a", f"--comment=b {MARK}", "job.sh"],
        ),
        (
            ["--comment=", "job.sh"],
            SCRIPT,
            {},
            [f"--comment={MARK}", "--parsable", f"--comment={MARK}", "job.sh"],
        ),
        (["job.sh"], SCRIPT, {}, [f"--comment=of the script {MARK}", "--parsable", "job.sh"]),
        (["job.sh"], SCRIPT, {"SBATCH_COMMENT": "e"}, [f"--comment=e {MARK}", "--parsable", "job.sh"]),
        (["--wrap", SCRIPT], SCRIPT, {}, [f"--comment={MARK}", "--parsable", "--wrap", SCRIPT]),
        (
            ["-n1", ":", "--comment=second", "job.sh"],
            "",
            {},
            [f"--comment={MARK}", "--parsable", "-n1", ":", "--comment=second", "job.sh"],
        ),
    ],
)
def test_the_marker_comes_first_and_behind_the_users_comment(
    words: list[str], script: str, env: Mapping[str, str], built: list[str]
):
    """It stands right behind sbatch's name, and behind whatever comment would count; nothing else is changed."""
    assert sbatch.build(["sbatch", *words], MARK, script=script, env=env).argv == ("sbatch", *built)


@given(st.lists(st.text(st.sampled_from("-=abHpw com"), min_size=1, max_size=9), max_size=6))
def test_the_comment_that_counts_ends_with_the_marker(words: list[str]):
    """Whatever the user's words are, sbatch reads our marker from ours, and theirs are all there."""
    argv = sbatch.build(["sbatch", *words], MARK).argv
    comment = sbatch_words.read(argv[1:]).last("comment", component=0)
    assert comment is not None
    assert comment.value is not None
    assert sbatch.marked(comment.value) == ("0199-uuid", 2)
    assert len(argv) == len(words) + 3
    assert [word.replace(f" {MARK}", "").replace(MARK, "") for word in argv[3:]] == words


@pytest.mark.parametrize(
    ("words", "env", "expected"),
    [
        (["job.sh"], {}, {"submits": True, "waits": True, "array": "1-3", "clusters": None}),
        (["-a", "5", "job.sh"], {"SBATCH_ARRAY_INX": "7"}, {"array": "5"}),
        (["job.sh"], {"SBATCH_ARRAY_INX": "7", "SBATCH_CLUSTERS": "far"}, {"array": "7", "clusters": "far"}),
        (["-M", "near", "job.sh"], {"SBATCH_CLUSTERS": "far"}, {"clusters": "near"}),
        (["--wrap", "true"], {}, {"waits": False, "array": None}),
        (["--wrap", "true"], {"SBATCH_WAIT": ""}, {"waits": True}),
        (["-HW", "--wrap", "true"], {}, {"waits": True}),
        (["--test-only", "job.sh"], {}, {"submits": False}),
        (["--help"], {}, {"submits": False}),
        (["-V"], {}, {"submits": False}),
    ],
)
def test_what_matters_about_a_submission_is_read_off(
    words: list[str], env: Mapping[str, str], expected: dict[str, object]
):
    """Command line beats environment beats script, as for sbatch."""
    built = sbatch.build(["sbatch", *words], MARK, script=SCRIPT, env=env)
    assert {name: getattr(built, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("comment", "mark"),
    [
        (MARK, ("0199-uuid", 2)),
        (f"two words {MARK}", ("0199-uuid", 2)),
        (f"{MARK} more", None),
        (f"not{MARK}", None),
        ("qme:only", None),
        ("", None),
    ],
)
def test_a_marker_is_read_at_the_end_of_a_comment(comment: str, mark: tuple[str, int] | None):
    """A comment that only mentions one is somebody's own."""
    assert sbatch.marked(comment) == mark


def test_only_the_users_wishes_reach_sbatch():
    """Slurm's variables in the worker's environment are dropped, where the cluster is stays, the user's win."""
    worker = {
        "PATH": "/bin",
        "SLURM_CONF": "/c",
        "SLURM_JOB_ID": "1",
        "SBATCH_PARTITION": "p",
        "SRUN_DEBUG": "1",
    }
    assert sbatch.submit_environment(worker, {"SBATCH_PARTITION": "mine", "PATH": "/usr/bin"}) == {
        "PATH": "/usr/bin",
        "SLURM_CONF": "/c",
        "SBATCH_PARTITION": "mine",
    }


def test_what_is_parsed_is_asked_for_in_one_form():
    """Times come in UTC, lists unshortened, whatever the account's environment says."""
    env = sbatch.query_environment(
        {"TZ": "Asia/Tokyo", "SLURM_TIME_FORMAT": "relative", "SQUEUE_FORMAT": "%i"}
    )
    assert env == {"TZ": "UTC", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C"}
