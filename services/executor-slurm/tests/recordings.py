"""Output of a real Slurm, as `tests/slurm/record.py` took it down: while jobs lived, and after their ends."""

from __future__ import annotations

from pathlib import Path

from qme_executor_slurm import parsers, sbatch
from qme_executor_slurm.parsers import AccountRow, Details, QueueRow

FOLDER = Path(__file__).parent / "recorded"


def text(name: str) -> str:
    """A recorded text."""
    return (FOLDER / name).read_text()


def queue(snapshot: str) -> list[QueueRow]:
    """All rows of squeue."""
    return parsers.queue(text(f"{snapshot}.squeue"))


def accounts(snapshot: str) -> list[AccountRow]:
    """All rows of sacct."""
    return parsers.accounting(text(f"{snapshot}.sacct"))


def details(snapshot: str) -> list[Details]:
    """All records of scontrol."""
    return parsers.details(text(f"{snapshot}.scontrol"))


def name_of(row: QueueRow | AccountRow) -> str | None:
    """The name that the recording gave to a job; accounting has it of ended ones only."""
    mark = sbatch.marked(row.comment)
    return mark[0] if mark else None


def job_of(name: str) -> int:
    """The number of a recorded job."""
    return next(row.id.job for row in queue("ended") if name_of(row) == name)
