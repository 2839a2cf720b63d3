"""What a command wrote, as text with colours of our own making."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme_dashboard.ansi import spans


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain & <b>", [("", "plain & <b>")]),
        ("\x1b[31mred\x1b[0m on", [("color:#d64545", "red"), ("", " on")]),
        ("\x1b[1;4mx\x1b[22my",
         [("font-weight:bold;text-decoration:underline", "x"), ("text-decoration:underline", "y")]),
        ("\x1b[38;2;255;0;999mx", [("color:#ff00ff", "x")]),
        ("\x1b[38;5;196mx", [("color:#ff0000", "x")]),
        ("\x1b[41mx\x1b[49my", [("background:#d6454555", "x"), ("", "y")]),
        ("\x1b[2J\x1b[Hgone", [("", "gone")]),
        ("\x1b]0;title\x07text", [("", "text")]),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", [("", "link")]),
        ("\x1b]52;c;aGk=", []),
        ("a\x00\x07\x08b\x7f", [("", "ab")]),
        ("10%\r50%\r100%\nok\r\nend", [("", "100%\nok\nend")]),
        ("abc\u202egnp.exe", [("", "abcgnp.exe")]),
        ("\x1b[31;;;;mx\x1b[", [("", "x")]),
        ("\x1b[38;5mx", [("", "x")]),
        ("\x1b[" + "1;" * 40 + "31mx", [("font-weight:bold", "x")]),
    ],
)  # fmt: skip
def test_colours_stay_and_all_else_is_text(text: str, shown: list[tuple[str, str]]) -> None:
    """Colours become styles, other sequences go."""
    assert spans(text) == shown


@given(
    st.lists(
        st.sampled_from(
            ["\x1b", "[", "3", "1", ";", "m", "<", "script>", '"', "&", "]", "\x07", "a", "\r", "\n"]
        )
    ),
)
def test_nothing_that_is_written_becomes_a_style(pieces: list[str]) -> None:
    """Whatever is written, styles are made of our own words, and no control character is left."""
    for css, text in spans("".join(pieces)):
        assert not set(css) & set('<>"&[]')
        assert "script" not in css
        assert not set(text) & set("\x1b\x07\r")
