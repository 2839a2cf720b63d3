"""What a restarted worker knows about an attempt's submission, wherever the one before it died."""

from __future__ import annotations

from pathlib import Path

import pytest

from qme_executor_slurm.journal import Journal, Open, Submitted

MARK = "qme:u:1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies."""
    return tmp_path / "journal"


def test_nothing_was_ever_done(path: Path) -> None:
    """No file, no intent, no job; and reading makes no file."""
    journal = Journal(path)
    assert (journal.open, journal.submitted) == (None, None)
    assert not path.exists()


def test_an_intent_outlives_its_writer(path: Path) -> None:
    """Several calls without an answer: the look-up has to reach back to the first one."""
    Journal(path).intend(10.0, MARK, None)
    Journal(path).intend(20.0, MARK, "east")
    assert Journal(path).open == Open(10.0, 20.0, "east")


def test_calls_that_made_no_job(path: Path) -> None:
    """They are settled, and a later look-up does not reach back to them."""
    journal = Journal(path)
    journal.intend(10.0, MARK, None)
    journal.nothing()
    journal.intend(30.0, MARK, None)
    assert Journal(path).open == Open(30.0, 30.0, None)


def test_the_job_is_kept_with_what_is_learned_later(path: Path) -> None:
    """The last line on the job counts."""
    journal = Journal(path)
    journal.intend(10.0, MARK, None)
    journal.accept(Submitted(7, 10.0))
    journal.accept(Submitted(7, 10.0, stdout="/a b/out"))
    assert Journal(path).submitted == Submitted(7, 10.0, stdout="/a b/out")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_line(path: Path, cut: int) -> None:
    """A crash in the middle of noting the job leaves the intent, so it is looked for; the next line is read."""
    journal = Journal(path)
    journal.intend(10.0, MARK, None)
    whole = path.stat().st_size
    journal.accept(Submitted(7, 10.0))
    with path.open("r+b") as file:
        file.truncate(whole + cut)
    torn = Journal(path)
    assert torn.submitted is None
    assert torn.open == Open(10.0, 10.0, None)
    torn.accept(Submitted(8, 10.0))
    assert Journal(path).submitted == Submitted(8, 10.0)


def test_two_beginners(path: Path) -> None:
    """Of two that both found nothing, only one may go on to sbatch."""
    first, second = Journal(path), Journal(path)
    first.intend(10.0, MARK, None)
    with pytest.raises(FileExistsError):
        second.intend(10.0, MARK, None)
