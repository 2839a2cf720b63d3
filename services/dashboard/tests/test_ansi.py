"""What a command wrote, as HTML that can do nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme_dashboard.ansi import MARK, render

TAG = re.compile(r'</?(?:span|mark)(?: style="[^"<>]*")?>')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain & <b>", "plain &amp; &lt;b&gt;"),
        ("\x1b[31mred\x1b[0m on", '<span style="color:#d64545">red</span> on'),
        ("\x1b[1;4mx\x1b[22my", '<span style="font-weight:bold;text-decoration:underline">x</span>'
         '<span style="text-decoration:underline">y</span>'),
        ("\x1b[38;2;255;0;999mx", '<span style="color:#ff00ff">x</span>'),
        ("\x1b[38;5;196mx", '<span style="color:#ff0000">x</span>'),
        ("\x1b[41mx\x1b[49my", '<span style="background:#d6454555">x</span>y'),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=", ""),
        ("a\x00\x07\x08b\x7f", "ab"),
        ("10%\r50%\r100%\nok\r\nend", "100%\nok\nend"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("\x1b[31;;;;mx\x1b[", "x"),
        ("\x1b[38;5mx", "x"),
        ("\x1b[" + "1;" * 40 + "31mx", '<span style="font-weight:bold">x</span>'),
    ],
)  # fmt: skip
def test_colours_stay_and_all_else_is_text(text: str, shown: str) -> None:
    """Colours become styles, other sequences go, and markup is spelled out."""
    assert render(text)[0] == shown


def test_what_is_searched_is_marked_and_counted() -> None:
    """Hits are found without their colours in between, and whatever their case."""
    body, hits = render("Err\x1b[31mor\x1b[0m, error <i>", "error")
    mark = f'<mark style="{MARK}">'
    assert hits == 2
    assert body == (
        f'{mark}Err</mark><span style="color:#d64545">{mark}or</mark></span>, {mark}error</mark> &lt;i&gt;'
    )
    assert render("a.b", ".") == (f"a{mark}.</mark>b", 1)
    assert render("<script>", "<script>") == (f"{mark}&lt;script&gt;</mark>", 1)


@pytest.mark.timeout(60)
def test_a_log_with_as_many_colours_as_hits_takes_moments() -> None:
    """A page that looks again every two seconds must not compare each of them with each."""
    text = "\x1b[1ma" * 40_000
    body, hits = render(text, "a")
    assert hits == 40_000
    assert body.count(f'<mark style="{MARK}">a</mark>') == hits


@given(
    st.lists(
        st.sampled_from(
            ["\x1b", "[", "3", "1", ";", "m", "<", "script>", '"', "&", "]", "\x07", "a", "\r", "\n"]
        )
    ),
    st.sampled_from(["", "a", "<", "script", '"', "3"]),
)
def test_nothing_that_is_written_becomes_a_tag(pieces: list[str], find: str) -> None:
    """Whatever is written and searched, the only tags are our own two, and no quote ends an attribute."""
    body, _ = render("".join(pieces), find)
    rest = TAG.sub("", body)
    assert not set(rest) & set('<>"\x1b\x07\r')
