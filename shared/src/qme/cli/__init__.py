"""The command line. `main` is the console script `qme`; each group of verbs has a file, imported when it is used.

stdout carries data, stderr narration. No rule about tasks lives here: verbs call `qme.client`.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; never raises but for what ends the interpreter."""
    from qme.cli.entry import run

    return run(argv)
