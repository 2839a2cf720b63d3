"""Our reading of sbatch's words against sbatch itself: which options there are, and how it splits directives."""

from __future__ import annotations

import re
import string

import pytest
from tests.slurm.cluster import Cluster

from qme.contracts import sbatch_words
from qme_executor_slurm import answers, directives


@pytest.fixture(scope="module")
def known(slurm: Cluster) -> set[str]:
    """Every long option that this sbatch has, from what it offers for a shortened one."""
    found: set[str] = set()
    for letter in string.ascii_lowercase:
        said = slurm.run(["sbatch", f"--{letter}=x"]).stderr
        found |= {name for name in re.findall(r"'--([\w-]+)'", said) if len(name) > 1}
    # Alone with their first letter, so that the short form is taken for them.
    return found | {"job-name", "kill-on-invalid-dep", "licenses"}


def test_every_option_of_sbatch_is_in_the_table(known: set[str]):
    """An option that we did not know might hide the script behind its value."""
    assert {
        name for name in known if sbatch_words.read([f"--{name}=x"]).options[0].name not in sbatch_words.LONG
    } == set()


def test_sbatch_agrees_on_which_options_take_a_value(slurm: Cluster, known: set[str]):
    """Without its value a required one is refused; with one, so is an option that has none."""
    wrong = {}
    for name in sorted(known - {"help", "usage", "version"}):
        option = sbatch_words.read([f"--{name}", "word"]).options[0]
        alone = slurm.run(["sbatch", f"--{name}"]).stderr
        valued = slurm.run(["sbatch", f"--{name}=/no/such"]).stderr if "requires" not in alone else ""
        arity = (
            "required"
            if "requires an argument" in alone
            else "none"
            if "doesn't allow" in valued
            else "optional"
        )
        if arity != sbatch_words.LONG[option.name]:
            wrong[name] = arity
    assert wrong == {}


def test_sbatch_agrees_on_the_short_options(slurm: Cluster):
    """Each letter that it takes stands for an option of the table, and takes a value if that does."""
    wrong = {}
    for letter in string.ascii_letters:
        said = slurm.run(["sbatch", f"-{letter}"]).stderr
        theirs = None if "invalid option" in said else "requires an argument" in said
        name = sbatch_words.SHORT.get(letter)
        if theirs != (None if name is None else sbatch_words.LONG[name] == "required"):
            wrong[letter] = said
    assert wrong == {}


DIRECTIVES = [
    "#SBATCH --comment=plain",
    "#SBATCH --comment plain -e/x",
    '#SBATCH --comment="two words" -J name',
    "#SBATCH --comment='a # b' # --comment=no",
    "#SBATCH --comment=a#b -e /x",
    r"#SBATCH --comment=a\#b",
    r"#SBATCH --comment='a\'b'",
    r'#SBATCH --comment="a\"b"c" d"',
    "#SBATCH --comment=a\\\n#SBATCH -e /x",
    "#SBATCH\t--comment=tab",
    "#SBATCH--comment=near",
    "#SBATCH --comment=a\n#SBATCH --comment=b",
    "# SBATCH --comment=no\n##SBATCH --comment=no\n#sbatch --comment=no",
    "\n \t\n# words\n  # more\n#SBATCH --comment=late",
    "true\n#SBATCH --comment=too-late",
    "#SBATCH --comm=short",
    "#SBATCH --comment=one\n#SBATCH hetjob\n#SBATCH --comment=two",
    "#SBATCH --comment=ümläut",
]


@pytest.mark.parametrize("lines", DIRECTIVES)
def test_directives_are_read_as_sbatch_reads_them(slurm: Cluster, lines: str):
    """The comment that Slurm stores is the one that we found in the script, and ours comes behind it."""
    script = f"#!/bin/sh\n{lines}\ntrue\n"
    words = sbatch_words.read(directives.words(script))
    comment = words.last("comment", component=0)
    plain = slurm.submit("-H", "--parsable", stdin=script)
    assert isinstance(plain, answers.Accepted)
    marked = slurm.sbatch("-H", mark="qme:directive:1", stdin=script)
    rows = slurm.queue()
    slurm.cancel_all()
    comments = {row.id.job: row.comment for row in rows if not row.id.component}
    theirs = comment.value if comment and comment.value else ""
    assert comments[plain.job] == theirs
    assert comments[marked] == f"{theirs} qme:directive:1".strip()
