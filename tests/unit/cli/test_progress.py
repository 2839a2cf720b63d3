"""The line that tells how many of many tasks have ended."""

from __future__ import annotations

import io

import pytest

from qme.cli.progress import Bar, line


@pytest.mark.parametrize(
    ("ended", "total", "wanted"),
    [
        ({}, 4, "[........................] 0/4"),
        ({"success": 1, "failed": 1}, 4, "[############............] 2/4  1 success, 1 failed"),
        ({"failed": 1, "success": 3}, 4, "[########################] 4/4  3 success, 1 failed"),
    ],
)
def test_the_line(ended: dict[str, int], total: int, wanted: str) -> None:
    """A bar, how many of how many, and how they ended, the most frequent first."""
    assert line(ended, total, 80) == wanted


def test_no_line_where_nobody_looks() -> None:
    """Nothing is drawn into a file."""
    out = io.StringIO()
    Bar(100, out).erase()
    assert out.getvalue() == ""
