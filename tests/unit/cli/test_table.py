"""Rows for people and for programs."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from qme.cli.table import Table, age, shortened, stamp, visible

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Terminal(io.StringIO):
    """A terminal to write to."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_piped_rows_are_tab_separated() -> None:
    """No headings, no colours, nothing cut; a tab inside a cell can't break the row."""
    out = io.StringIO()
    Table([("A", 9), ("B", 0)], out).row("failed", "x\ty\n" + "z" * 300)
    assert out.getvalue() == "failed\tx\\ty\\n" + "z" * 300 + "\n"


def test_a_terminal_gets_headings_columns_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, above the first row; lines are cut to the terminal's width."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    table = Table([("STATE", 8), ("COMMAND", 0)], out)
    table.row("success", "echo " + "x" * 100)
    table.row("queued", "true")
    heading, first, second = out.getvalue().splitlines()
    assert heading == "STATE     COMMAND"
    assert first == "\x1b[32msuccess \x1b[0m  echo " + "x" * 14 + "…"
    assert second == "queued    true"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are words, so nothing is lost with the colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    Table([("STATE", 8)], out).row("failed")
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ☃", "plain é ☃"),
        ("a\tb\nc\r", "a\\tb\\nc\\r"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bell\x07 \x9b", "bell\\x07 \\x9b"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    """Somebody else's command can't steer my terminal."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (200_000, "2d"), (-5, "0s")]
)
def test_age_is_said_in_the_largest_unit(seconds: float, said: str) -> None:
    """A clock ahead of ours makes nothing negative."""
    assert age(NOW, NOW + timedelta(seconds=seconds)) == said


def test_times_and_texts() -> None:
    """Times are ISO 8601 in UTC; never is a dash for people and nothing for programs."""
    assert stamp(NOW + timedelta(milliseconds=1500)) == "2026-01-01T00:00:01.500Z"
    assert (stamp(None), age(None)) == ("", "-")
    assert (shortened("abcdef", 4), shortened("abcd", 4)) == ("abc…", "abcd")
