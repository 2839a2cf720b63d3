"""Whose marker a job carries."""

from __future__ import annotations

import pytest

from qme_executor_slurm import lookup
from qme_executor_slurm.lookup import Found

from . import recordings


@pytest.mark.parametrize(
    "name", ["held", "running", "array-held", "over-two-lines", "time-limit", "het", "exit-3"]
)
def test_squeue_finds_every_job(name: str):
    """Waiting, running, ended, in parts or not: one job each."""
    assert lookup.find(name, 1, recordings.queue("living")) == [Found(recordings.job_of(name))]


@pytest.mark.parametrize(
    "name", ["running", "requeued-held", "array-limited", "time-limit", "comment-in-script"]
)
def test_accounting_finds_jobs_by_what_was_submitted(name: str):
    """It has the comment of ended jobs only, but every command line."""
    assert lookup.find(name, 1, [], recordings.accounts("living")) == [Found(recordings.job_of(name))]


@pytest.mark.parametrize(
    ("uuid", "attempt"), [("held", 2), ("held", 11), ("not-this", 1), ("hel", 1), ("eld", 1)]
)
def test_another_marker_finds_nothing(uuid: str, attempt: int):
    """Not another attempt, not a part of a name, not one that a command only mentions."""
    assert lookup.find(uuid, attempt, recordings.queue("living"), recordings.accounts("living")) == []
