"""`qme version`."""

from __future__ import annotations

import platform

import qme
from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import Verb


def arguments(_: Parser) -> None:
    """None."""


def version(_: Arguments, __: Context) -> int:
    """Print qme's version and Python's."""
    print(f"qme {qme.__version__} (Python {platform.python_version()})")
    return 0


VERBS = {"version": Verb(arguments, version)}
