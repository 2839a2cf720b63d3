"""Answers that are kept: which are made anew, and which are handed out again."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from qme.client.mirroring import Batch
from qme_dashboard.kept import CHEAP, LONGEST, ROOM, TIMES, Kept
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.store import Store

from .tasks import NOW, entry


class Clock:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Counted:
    """An answer that counts how often it was made, and costs so many seconds of a processor."""

    def __init__(self, cost: float = 0.0) -> None:
        self.cost, self.made = cost, 0

    def __call__(self) -> int:
        """Make it."""
        end = time.thread_time() + self.cost
        while time.thread_time() < end:
            pass
        self.made += 1
        return self.made


def test_an_answer_is_made_once_while_nothing_changes() -> None:
    """However many ask, and however long after; another question is another answer."""
    clock, answer, other = Clock(), Counted(), Counted()
    kept = Kept(clock)
    for clock.now in (0.0, 1.0, 1e6):
        assert kept.ask("a", 7, answer) == 1
    kept.ask("b", 7, other)
    assert (answer.made, other.made) == (1, 1)


def test_a_cheap_answer_is_made_anew_after_every_change() -> None:
    """At once: whoever changed something sees it at the next look."""
    kept, answer = Kept(Clock()), Counted()
    assert [kept.ask("a", version, answer) for version in (1, 2, 2, 3)] == [1, 2, 2, 3]


def test_a_dear_answer_may_be_a_little_old() -> None:
    """It takes a hundredth of a processor at most, and is never older than ten seconds."""
    clock, dear, dearer = Clock(), Counted(CHEAP * 4), Counted(LONGEST / TIMES + 0.1)
    kept = Kept(clock)
    kept.ask("dear", 1, dear)
    kept.ask("dearer", 1, dearer)
    clock.now = CHEAP * 4 * TIMES * 0.9
    assert (kept.ask("dear", 2, dear), kept.ask("dearer", 2, dearer)) == (1, 1)
    clock.now = LONGEST + 0.01
    assert kept.ask("dearer", 2, dearer) == 2
    clock.now = 1e6
    assert kept.ask("dear", 3, dear) == 2


def test_those_who_ask_at_once_share_one_answer() -> None:
    """The second waits for the first one's, and does not make its own."""
    kept, begun, go = Kept(), threading.Event(), threading.Event()
    made: list[str] = []
    found: list[Any] = []

    def slow() -> str:
        begun.set()
        assert go.wait(60)
        made.append("x")
        return "x"

    threads = [
        threading.Thread(target=lambda: found.append(kept.ask("a", 1, slow)), daemon=True) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert (found, made) == (["x"] * 3, ["x"])


def test_what_failed_is_not_kept() -> None:
    """The next one who asks gets an answer."""
    kept = Kept()

    def fails() -> int:
        raise ValueError("no answer")

    for _ in range(2):
        with pytest.raises(ValueError, match="no answer"):
            kept.ask("a", 1, fails)
    assert kept.ask("a", 1, Counted()) == 1


def test_few_are_kept() -> None:
    """What nobody asked for lately goes."""
    kept, first = Kept(), Counted()
    kept.ask("first", 1, first)
    for number in range(ROOM):
        kept.ask(number, 1, Counted())
    assert kept.ask("first", 1, first) == 2


def test_an_unchanged_store_is_not_read_again(store: Store) -> None:
    """The same page, tiles and figures cost no query of their own until something changes."""
    store.apply(Batch([entry(1, outcome="success", started=NOW, finished=NOW)], fresh=True, whole=True))
    asked: list[str] = []

    def look() -> tuple[Any, ...]:
        asked.clear()
        return (
            store.page(Filter(), Paging())[0],
            store.page(Filter(query="echo"), Paging())[0],
            store.groups()["success"],
            store.quantiles("run", NOW - 60),
            store.choices("user"),
        )

    reading = store._rows
    store._rows = lambda statement: asked.append(statement.sql) or reading(statement)  # type: ignore[method-assign,func-returns-value]
    first, after_first = look(), list(asked)
    assert look() == first
    assert (len(after_first), [sql for sql in asked if "uuid IN" not in sql]) == (8, [])
    store.apply(Batch([entry(2, outcome="success", started=NOW, finished=NOW)], whole=True))
    assert look()[:3] == (2, 2, 2)
