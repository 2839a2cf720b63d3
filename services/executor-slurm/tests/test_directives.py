"""Words of ``#SBATCH`` lines; `tests/slurm/test_words.py` holds the same against sbatch itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme_executor_slurm import directives


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#SBATCH -p main --time 5", ["-p", "main", "--time", "5"]),
        ("#SBATCH\t-p\tmain", ["-p", "main"]),
        ("#SBATCH--hold", ["--hold"]),
        ("#SBATCH -J 'two words' -e \"x y\"", ["-J", "two words", "-e", "x y"]),
        ('#SBATCH -J a"b c"d', ["-J", "ab cd"]),
        ("#SBATCH -J a # -p no", ["-J", "a"]),
        ("#SBATCH -J a#b -p no", ["-J", "a"]),
        (r"#SBATCH -J a\#b", ["-J", "a#b"]),
        (r"#SBATCH -J 'a\'b'", ["-J", "a'b"]),
        (r"#SBATCH -J a\ b", ["-J", "a", "b"]),
        (r"#SBATCH -J a\\ b", ["-J", "a\\", "b"]),
        ("#SBATCH -J a\\", ["-J", "a"]),
        ('#SBATCH -J ""', ["-J", ""]),
        ("#SBATCH hetjob", [":"]),
        ("#SBATCH packjob", [":"]),
        ("##SBATCH -p no", []),
        ("# SBATCH -p no", []),
        ("#sbatch -p no", []),
        (" #SBATCH -p no", []),
    ],
)
def test_a_line_is_split_as_sbatch_splits_it(line: str, words: list[str]):
    """Quotes, escapes and comments are sbatch's own, not a shell's."""
    assert directives.words(f"#!/bin/sh\n{line}\n") == words


def test_directives_end_where_the_script_begins():
    """Comments and empty lines may stand between them; a command ends them."""
    script = "#!/bin/sh\n# hello\n\n  # more\n#SBATCH -H\n \t\n#SBATCH -p main\ntrue\n#SBATCH -p other\n"
    assert directives.words(script) == ["-H", "-p", "main"]


@given(st.text())
def test_no_script_is_too_strange(script: str):
    """Reading never fails."""
    directives.words(f"#SBATCH {script}")
