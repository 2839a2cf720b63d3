"""Words of a command: what travels, and what a shell has to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from qme.client.words import argv_of, needs_shell
from qme.errors import InvalidRequest


@pytest.mark.parametrize(
    ("argv", "shell"),
    [
        (("ls",), False),
        (("echo", "a b"), False),
        (("echo", "$HOME", "|"), False),
        (("echo a",), True),
        (("a|b",), True),
        (("$HOME/bin/x",), True),
        (("ls\t-l",), True),
        (("exit 3",), True),
        (("VAR=1",), False),
        (("./plain-name_1.sh",), False),
        (("~/x",), True),
        (("echo 'it'",), True),
        (("a;b",), True),
        (("naïve",), False),
    ],
)
def test_one_word_that_looks_like_shell_text_needs_a_shell(argv: tuple[str, ...], shell: bool) -> None:
    """Several words never do; one does with white space or a character that means something to sh."""
    assert needs_shell(argv) is shell


def test_a_word_that_names_a_file_is_run_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./a b.txt` is a program to start, not two words; relative to the task's folder, and on PATH."""
    (tmp_path / "a b.txt").write_text("")
    (tmp_path / "my tool").write_text("")
    assert not needs_shell(["./a b.txt"], str(tmp_path))
    assert not needs_shell([f"{tmp_path}/a b.txt"])
    assert needs_shell(["./a c.txt"], str(tmp_path))
    assert needs_shell(["my tool"], str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not needs_shell(["my tool"])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "no command"),
        ("", "empty"),
        ("  \t", "empty"),
        (["", "x"], "empty"),
        (["echo", "a\0b"], "NUL"),
        (["echo", "caf\udce9"], "UTF-8"),
    ],
)
def test_words_that_cannot_travel_are_refused(command: str | list[str], said: str) -> None:
    """Each with its reason, before any bus is asked."""
    with pytest.raises(InvalidRequest, match=said):
        argv_of(command)


def test_empty_arguments_survive() -> None:
    """Only the first word has to be something."""
    assert argv_of(["printf", "", " ", "é"]) == ("printf", "", " ", "é")
    assert argv_of("one string") == ("one string",)
