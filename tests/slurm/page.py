"""Prints docs/slurm-jobs.md from the table that the tests run: ``python -m tests.slurm.page``. No rows here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.slurm.fates import Fate
from tests.slurm.refusals import REFUSALS
from tests.slurm.table import FATES, SECTIONS

HEAD = """# Slurm jobs through qme: {count} command lines and what becomes of them

Each row is run through the real `qme` (`qme submit`, `cancel`, `exec`, `export`) on a real Slurm of two nodes with
accounting, and compared whole: status, outcome, exit code, Slurm's state, reason, output and where it stands. Each
job's ending is read a second time from accounting alone, as a worker does that comes back late.

    make test-slurm                                               # all rows but those marked (soak)
    make soak                                                     # those over which Slurm itself takes long, too
    .venv/bin/python -m pytest tests/slurm/test_fates.py -k NAME  # one row, by its name in the first column

This page is printed by `.venv/bin/python -m tests.slurm.page` from `tests/slurm/table.py`. `{{job}}` is the job's
number, ⏎ is a new line, and `<<` stands before a script that is given on standard input.
"""


def page() -> str:
    """Give the whole page."""
    text = HEAD.format(count=len(FATES))
    for title, rows in SECTIONS.items():
        text += f"\n## {title}\n\n" + "\n".join(_refusals(rows) if rows is REFUSALS else _jobs(rows)) + "\n"
    return text


def _jobs(rows: Sequence[Fate]) -> list[str]:
    lines = ["| row | command | outcome | code | Slurm | what it shows |", "|---|---|---|---|---|---|"]
    for fate in rows:
        name = fate.name + (" (soak)" if fate.slow else "")
        lines.append(
            f"| {name} | {_code(_command(fate))} | {fate.outcome} | {fate.code} | {fate.state} | {_shows(fate)} |"
        )
    return lines


def _refusals(rows: Sequence[Fate]) -> list[str]:
    lines = [
        "Nothing is submitted: the task ends with the outcome `submit_failed`, and its reason is what sbatch said.",
        "",
        "| row | command | code | reason |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {fate.name} | {_code(_command(fate))} | {fate.code} | {_code(fate.reason)} |" for fate in rows
    ]
    return lines


def _command(fate: Fate) -> str:
    given = " ".join(fate.options)
    script = f" << {fate.script}" if fate.script else ""
    return " ".join(part for part in (given, fate.command) if part) + script


def _shows(fate: Fate) -> str:
    """Say what else is compared, beyond what every row has."""
    shown = [
        fate.act and f"done to it: {fate.act}",
        fate.waits and f"waits: {_code(fate.waits)}",
        fate.reason and f"reason: {_code(fate.reason)}",
        fate.output and f"output {_code(fate.output)}",
        fate.error and f"error {_code(fate.error)}",
        fate.outputfile != "slurm-{job}.out" and f"in {_code(fate.outputfile)}",
        fate.errorfile and f"errors in {_code(fate.errorfile)}",
        fate.counts and ", ".join(f"{count} {name}" for name, count in fate.counts.items()),
        fate.restarts and f"started anew {fate.restarts} time",
    ]
    return "; ".join(text for text in shown if text)


def _code(text: str) -> str:
    """Show a text on one line of a table."""
    text = (
        text.replace("|", "\\|").replace("\n", "⏎").replace("\r", "␍").replace("\0", "␀").replace("\x01", "␁")
    )
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    sys.stdout.write(page())
