"""Slurm's names for jobs and their parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme_executor_slurm import jobids
from qme_executor_slurm.jobids import JobId


@pytest.mark.parametrize(
    ("text", "job", "parts"),
    [
        ("7", JobId(7), ["7"]),
        ("7_3", JobId(7, (3,)), ["7_3"]),
        ("7_[3-6%2]", JobId(7, (3, 4, 5, 6)), ["7_3", "7_4", "7_5", "7_6"]),
        ("7_[0,2-6:2%1]", JobId(7, (0, 2, 4, 6)), ["7_0", "7_2", "7_4", "7_6"]),
        ("7_[1,5,...]", JobId(7, (1, 5)), ["7_1", "7_5"]),
        ("8+0", JobId(8, component=0), ["8+0"]),
        ("8+1", JobId(8, component=1), ["8+1"]),
        ("7.batch", JobId(7, step="batch"), ["7"]),
        ("7_3.extern", JobId(7, (3,), step="extern"), ["7_3"]),
        ("8+1.0", JobId(8, component=1, step="0"), ["8+1"]),
        (" 7 ", JobId(7), ["7"]),
    ],
)
def test_a_name_is_read(text: str, job: JobId, parts: list[str]):
    """Elements, groups of them, components and steps, each with the parts it stands for."""
    found = jobids.parse(text)
    assert found == job
    assert list(job.parts()) == parts


@pytest.mark.parametrize("text", ["", "x", "7_", "7_x", "7-3", "7_[", "7_[a]", "-7", "7.", "7 8"])
def test_what_is_no_name_is_none(text: str):
    """Anything else stands in no list of jobs."""
    assert jobids.parse(text) is None


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=6)
)
def test_expressions_name_their_numbers(pieces: list[tuple[int, int, int]]):
    """A list of ranges with steps stands for the union of them."""
    text = ",".join(f"{first}-{first + more}:{step}" for first, more, step in pieces)
    expected = {number for first, more, step in pieces for number in range(first, first + more + 1, step)}
    assert set(jobids.indices(f"{text}%3")) == expected


def test_an_absurd_range_is_not_believed():
    """Nobody's typing error takes all memory."""
    assert jobids.indices("0-99999999999,5") == (5,)
    assert jobids.indices("0-5:0") == ()
