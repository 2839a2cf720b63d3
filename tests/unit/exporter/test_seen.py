"""The window of counted revisions: exact within its width, and closed below it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.exporter.seen import Seen

WIDTH = 32


@given(st.lists(st.integers(1, 100)))
def test_it_knows_exactly_what_was_added_and_what_lies_below_it(revisions: list[int]) -> None:
    """In any order, with repeats: each of the newest is known if it was added, everything older is."""
    seen = Seen(width=WIDTH)
    for revision in revisions:
        seen.add(revision)
    top = max(revisions, default=0)
    assert seen.top == top
    inside = range(max(top - WIDTH + 1, 1), 110)
    assert [one for one in inside if one in seen] == sorted({one for one in revisions if one in inside})
    assert all(one in seen for one in range(1, top - WIDTH + 1))


def test_it_is_saved_as_text() -> None:
    """What is read back knows the same."""
    seen = Seen()
    for revision in (3, 5, 90_000, 90_002):
        seen.add(revision)
    again = Seen.load(seen.top, seen.dump())
    assert [one in again for one in (5, 90_000, 90_001, 90_002, 90_003)] == [True, True, False, True, False]
    assert len(seen.dump()) < 4096


def test_a_window_that_was_damaged_is_refused() -> None:
    """Half a window would count again what was counted."""
    with pytest.raises(ValueError, match="base64"):
        Seen.load(5, "not base64!")


def test_a_bus_that_was_set_back_counts_again_above_the_cut() -> None:
    """Revisions that the bus gives out anew are new ones."""
    seen = Seen(width=WIDTH)
    for revision in (10, 11, 12, 14):
        seen.add(revision)
    assert seen.cut(11)
    assert [one in seen for one in (10, 11, 12, 13, 14)] == [True, True, False, False, False]
    assert not seen.cut(11)
