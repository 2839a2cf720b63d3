"""Where qme's own words end and a command's begin."""

from __future__ import annotations

import pytest

from qme.cli.options import read
from qme.cli.parsing import Parser, command_of
from qme.cli.submit import arguments as submit_arguments
from qme.contracts.tasks import Outcome
from qme.errors import InvalidRequest


def parse(*words: str) -> tuple[str | None, list[str]]:
    """Give the message and the command of a `submit` line."""
    parser = Parser("qme submit", "submit")
    submit_arguments(parser)
    args = parser.parse_args(words)
    return args.message, command_of(args)


@pytest.mark.parametrize(
    ("line", "message", "command"),
    [
        ("prog --help", None, ["prog", "--help"]),
        ("prog -m x", None, ["prog", "-m", "x"]),
        ("-m note prog -m x --wait", "note", ["prog", "-m", "x", "--wait"]),
        ("--message=note prog", "note", ["prog"]),
        ("-mnote prog", "note", ["prog"]),
        ("-- prog --help", None, ["prog", "--help"]),
        ("-m note -- -odd-name --help", "note", ["-odd-name", "--help"]),
        ("prog -- x", None, ["prog", "--", "x"]),
        ("-- -- x", None, ["--", "x"]),
        ("--wait prog --wait", None, ["prog", "--wait"]),
        ("--label a=b --label c=d prog", None, ["prog"]),
        ("- x", None, ["-", "x"]),
    ],
)
def test_options_stand_before_the_command_only(line: str, message: str | None, command: list[str]) -> None:
    """Whatever follows the command's first word is the command's own; one leading -- is ours."""
    assert parse(*line.split()) == (message, command)


def test_words_survive_as_they_are() -> None:
    """Empty ones, ones with blanks, and ones that look like options."""
    words = ["printf", "", "a b", "-x y", "--", "--json=1", "é\n"]
    assert parse(*words) == (None, words)


def test_no_command_is_a_mistake() -> None:
    """Said as one line."""
    with pytest.raises(InvalidRequest, match="no command"):
        parse("-m", "note")


def test_what_is_retried_is_told_by_outcomes() -> None:
    """Several at once, each once; what can't be retried is refused with the ones that can."""
    parser = Parser("qme submit", "submit")
    submit_arguments(parser)
    args = parser.parse_args(["--retry-on", "lost, node_fail,lost", "--retry-backoff", "1.5", "make"])
    wishes = read(args)
    assert wishes.retry_on == (Outcome.LOST, Outcome.NODE_FAIL)
    assert wishes.retry_backoff == 1.5
    with pytest.raises(InvalidRequest, match="'success' can't be retried; choose from failed, timeout, "):
        parser.parse_args(["--retry-on", "failed,success", "make"])
