"""Where a graph's tasks are drawn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qme_dashboard.graph import layout


def test_each_task_stands_right_of_all_it_waits_for() -> None:
    """A diamond with a long way round: the column is the longest way's; arrows of strangers don't count."""
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "e"), ("e", "d"), ("x", "a"), ("d", "d")]
    found = layout("abcde", edges)
    assert {node: column for node, (column, _) in found.places.items()} == {
        "a": 0,
        "b": 1,
        "c": 1,
        "e": 2,
        "d": 3,
    }
    assert (found.columns, found.rows) == (4, 2)


def test_lines_do_not_cross_where_they_need_not() -> None:
    """Two chains that are given in another order stay two chains."""
    found = layout(["a", "b", "b2", "a2"], [("a", "a2"), ("b", "b2")])
    rows = {node: row for node, (_, row) in found.places.items()}
    assert rows["a"] == rows["a2"]
    assert rows["b"] == rows["b2"]


def test_nothing_and_circles_are_drawn_too() -> None:
    """No submitter takes a circle, but a record can say anything."""
    assert layout([], []).columns == 0
    assert set(layout("abc", [("a", "b"), ("b", "c"), ("c", "b")]).places) == {"a", "b", "c"}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))
def test_no_two_tasks_share_a_place(pairs: list[tuple[int, int]]) -> None:
    """Whatever waits for whatever, and all arrows lead to the right."""
    edges = [(str(a), str(b)) for a, b in pairs if a < b]
    nodes = [str(number) for number in range(13)]
    found = layout(nodes, edges)
    assert len(set(found.places.values())) == len(nodes)
    assert all(found.places[a][0] < found.places[b][0] for a, b in edges)
