"""The small pure parts: words, series, timelines, and what a request says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from markdown_it import MarkdownIt

from qme.contracts.tasks import Attempt, Outcome, Status, TaskRecord
from qme.errors import InvalidRequest
from qme_dashboard import asking, figures, words
from qme_dashboard.figures import Window
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.timeline import stretches

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"), (-3, "0.0 s"), (0.04, "0.0 s"), (9.96, "10.0 s"), (59, "59 s"), (60, "1 m"), (3599, "59 m 59 s"),
        (3600, "1 h"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_spans(seconds: float | None, said: str) -> None:
    """Two parts at most, whatever the length."""
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB"), (True, None), ("x", None)],
)
def test_sizes(number: object, said: str | None) -> None:
    """Bytes in the unit that people read; nothing for what is no number."""
    assert words.size(number) == said


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil)",
        "[a](javascript:b)",
        "<img src=x>",
        "**b** `c` # h",
        ":red[x] :material/x:",
        "$x$",
        "a\n# b",
    ],
)
def test_other_peoples_text_is_no_markdown(text: str) -> None:
    """It reads as it was written, and holds no element."""
    tokens = MarkdownIt().parse(words.plain(text))
    inner = [child for token in tokens for child in token.children or []]
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in inner} <= {"text", "text_special"}
    assert "".join(child.content for child in inner) == " ".join(text.split())
    # Streamlit's own extensions, which this parser does not know, need these two unescaped.
    assert not re.search(r"(?<!\\)[:$]", words.plain(text))


def test_an_executor_named_as_a_page_has_a_page_of_its_own() -> None:
    """Names that addresses have taken are spelled so that no other executor can have them."""
    assert [words.path_of(name) for name in ("shell", "tasks", "api")] == [
        "shell",
        "executor-tasks",
        "executor-api",
    ]


def test_the_chart_has_a_step_for_every_minute() -> None:
    """Steps without an ending are there, counts are per minute, and kinds of failure stand together."""
    rows = [
        {"at": 600, "outcome": "success", "n": 10},
        {"at": 600, "outcome": "timeout", "n": 5},
        {"at": 600, "outcome": "failed", "n": 5},
        {"at": 0, "outcome": "lost", "n": 7},
    ]
    series = figures.stacked(rows, Window(1800, 600), 1300.0)
    assert [int(time.timestamp()) for time in series["time"]] == [0, 600, 1200]
    assert {name: series[name] for name in figures.STACK} == {
        "success": [0.0, 1.0, 0.0], "failure": [0.0, 1.0, 0.0], "cancelled": [0.0, 0.0, 0.0], "lost": [0.7, 0.0, 0.0],
    }  # fmt: skip
    assert figures.failure_share(rows, 600, 1200) == 0.5
    assert figures.failure_share(rows, 1200, 1800) is None


def test_a_timeline_tells_each_attempts_wait_and_run() -> None:
    """An attempt that never began has only waited; the current one goes on until now."""
    at = [NOON + timedelta(minutes=minute) for minute in range(6)]
    record = TaskRecord(
        uid="shell-" + "0" * 36, executor="shell", pool="p", command="x", user="ann", created=at[0], attempt=3,
        status=Status.RUNNING, started=at[4],
        attempts=(
            Attempt(attempt=1, outcome=Outcome.FAILED, started=at[1], finished=at[2]),
            Attempt(attempt=2, outcome=Outcome.CANCELLED, finished=at[3]),
        ),
    )  # fmt: skip
    assert [(one.attempt, one.what, one.seconds, one.how) for one in stretches(record, at[5])] == [
        (1, "waited", 60, "started"), (1, "ran", 60, "failed"), (2, "waited", 60, "cancelled"),
        (3, "waited", 60, "started"), (3, "ran", 60, "running"),
    ]  # fmt: skip


def test_what_a_list_is_asked_for() -> None:
    """Every parameter finds its place."""
    said = [
        ("state", "failure,queued"),
        ("state", "lost"),
        ("label", "a=b=c"),
        ("label", "d="),
        ("user", "ann"),
    ]
    said += [
        ("q", "x+"),
        ("since", "2026-01-01T12:00:00Z"),
        ("sort", "user"),
        ("order", "asc"),
        ("page", "2"),
        ("limit", "9"),
    ]
    assert asking.read(said) == (
        Filter(
            states=frozenset({"failure", "queued", "lost"}), labels={"a": "b=c", "d": ""}, user="ann", query="x+",
            since=NOON.timestamp(),
        ),
        Paging(sort="user", descending=False, page=2, size=9),
    )  # fmt: skip


@pytest.mark.parametrize(
    "name_and_value",
    [("stat", "failed"), ("label", "x"), ("since", "yesterday"), ("order", "up"), ("page", "-1"), ("page", "0"),
     ("page", "9" * 30), ("limit", "1001"), ("limit", "١"), ("sort", "haystack")],
)  # fmt: skip
def test_a_slip_in_a_list_is_refused(name_and_value: tuple[str, str]) -> None:
    """An unknown parameter or a value that is none must not quietly show everything."""
    with pytest.raises(InvalidRequest):
        asking.read([name_and_value])


@pytest.mark.parametrize(
    "body", [{}, {"tasks": []}, {"tasks": "x"}, {"tasks": [1]}, {"tasks": [{"attempt": 1}]}]
)
def test_a_change_has_to_name_tasks(body: dict[str, object]) -> None:
    """Nothing named is a mistake, and never means all."""
    with pytest.raises(InvalidRequest):
        asking.ids(body)


def test_a_wish_is_true_or_false_and_no_word() -> None:
    """The word "false" must not run again what may still be running."""
    assert [asking.flag(body, "force") for body in ({}, {"force": False}, {"force": True})] == [
        False,
        False,
        True,
    ]
    others: list[object] = ["false", 0, 1, None, []]
    for wrong in others:
        with pytest.raises(InvalidRequest, match="true or false"):
            asking.flag({"force": wrong}, "force")


def test_tasks_may_be_named_with_the_attempt_that_was_seen() -> None:
    """Both forms may stand together."""
    assert asking.ids({"tasks": ["a", {"task": "b", "attempt": 2}]}) == [("a", None), ("b", 2)]
