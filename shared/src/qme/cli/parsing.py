"""Command lines: one parser per verb, whose errors are one line, and the kinds of values that several verbs take."""

from __future__ import annotations

import argparse
from inspect import cleandoc
from textwrap import indent
from typing import NoReturn

from qme.errors import InvalidRequest

Arguments = argparse.Namespace

#: what may stand where a verb needs to be told a task
ID_HELP = "a task's id, a unique beginning of it, its last 4 or more digits, or last"
#: where several tasks may be named
IDS_HELP = f"{ID_HELP}; @NAME: all of a group"


class Parser(argparse.ArgumentParser):
    """A verb's parser. Raises InvalidRequest where argparse would print its usage and exit."""

    def __init__(self, prog: str, summary: str) -> None:
        super().__init__(
            prog=prog,
            description=summary[0].upper() + summary[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.hint = f"see `{prog} --help`"

    def lay_out(self, forms: str) -> None:
        """Add the verb's forms to its description, line by line as they are."""
        self.description = f"{self.description}\n\n{_indented(forms)}"

    def end_with(self, text: str) -> None:
        """Let the help end with these lines."""
        self.epilog = cleandoc(text)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise InvalidRequest(f"{message}; {self.hint}")


def _indented(text: str) -> str:
    return indent(cleandoc(text), "  ")


def add_command(parser: Parser) -> None:
    """Take the rest of the line as a command: whatever follows its first word is the command's own."""
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD", help="the command and its arguments"
    )
    parser.set_defaults(prog=parser.prog)


def command_of(args: Arguments) -> list[str]:
    """Give the command's words. Raises InvalidRequest when there are none."""
    words: list[str] = list(args.command)
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        raise InvalidRequest(f"there is no command; give one, such as `{args.prog} echo hello moto`")
    return words


def seconds(text: str) -> float:
    """Read a time span, such as 30, 5m or 7d."""
    from qme.settings import duration

    kind = duration()
    try:
        return kind.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {kind.allowed}") from None


def size(text: str) -> int:
    """Read an amount of bytes, such as 4096, 500MB or 4GiB."""
    from qme.settings.values import size as sizes

    kind = sizes()
    try:
        return kind.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {kind.allowed}") from None


def count(text: str) -> int:
    """Read a number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Read ``key=value``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return key, value
