"""Which words of an sbatch command are options, which are their values, and which is the script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts import sbatch_words
from qme.contracts.sbatch_words import script_word, working_directory

SCRIPTS = [
    ("sbatch job.sh", "job.sh"),
    ("/usr/bin/sbatch job.sh -p main", "job.sh"),
    ("sbatch -p main job.sh", "job.sh"),
    ("sbatch -pmain -n4 job.sh", "job.sh"),
    ("sbatch -Hp main job.sh", "job.sh"),
    ("sbatch -HQv job.sh", "job.sh"),
    ("sbatch --partition main job.sh", "job.sh"),
    ("sbatch --partition=main job.sh", "job.sh"),
    ("sbatch --par job.sh", "job.sh"),  # --parsable or --partition: sbatch refuses it, so nobody will run it
    ("sbatch --part main job.sh", "job.sh"),
    ("sbatch --job x.sh job.sh", "job.sh"),
    ("sbatch --exclusive job.sh", "job.sh"),
    ("sbatch --exclusive=user job.sh", "job.sh"),
    ("sbatch --nice -k job.sh", "job.sh"),
    ("sbatch -koff job.sh", "job.sh"),
    ("sbatch --cluster one job.sh", "job.sh"),
    ("sbatch -n1 : -p other job.sh more", "job.sh"),
    ("sbatch -- -job.sh", "-job.sh"),
    ("sbatch - job.sh", "-"),
    ("sbatch --of-the-future job.sh", "job.sh"),
    ("sbatch --wrap true", None),
    ("sbatch --wr=true more", None),
    ("sbatch", None),
    ("sbatch -p", None),
    ("sbatch -p main", None),
    ("sbatch --partition", None),
]


@pytest.mark.parametrize(("command", "script"), SCRIPTS)
def test_the_script_is_the_first_word_that_is_no_option(command: str, script: str | None):
    """Values of options are not taken for it, in whatever form they stand."""
    assert script_word(command.split()) == script


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("-D /a", "/a"),
        ("-D/a", "/a"),
        ("--chdir=/a", "/a"),
        ("--chd /a -D /b", "/b"),
        ("-H", None),
        ("-H -D", "job.sh"),
    ],
)
def test_the_last_value_counts(words: str, value: str | None):
    """An option may be given again, and in four forms."""
    assert working_directory(["sbatch", *words.split(), "job.sh"]) == value


def test_what_follows_the_script_is_its_own():
    """The script's arguments may look like sbatch's options."""
    read = sbatch_words.read(["-H", "job.sh", "--comment=mine", "-p", "x"])
    assert read.names == {"hold"}
    assert read.script == 1


def test_components_of_a_heterogeneous_job_are_told_apart():
    """Options behind a colon are another component's."""
    read = sbatch_words.read(["--comment=a", "-n1", ":", "--comment", "b", "job.sh"])
    assert [(o.value, o.component) for o in read.options if o.name == "comment"] == [("a", 0), ("b", 1)]
    first = read.last("comment", component=0)
    assert first is not None
    assert first.value == "a"
    assert read.value("comment") == "b"


@given(st.lists(st.text(st.sampled_from("-=:a1HpJ wrc"), max_size=8), max_size=8))
def test_no_words_are_too_strange(words: list[str]):
    """Reading never fails, and every option stands where it says."""
    for option in sbatch_words.read(words).options:
        assert option.value is None or words[option.last][option.offset :] == option.value
