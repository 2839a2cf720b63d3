"""What a rerun of failed tasks takes along, and the order in which tasks that wait for each other are submitted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.client.groups import failed
from qme.client.ordering import parents_first
from qme.contracts.messages import Submission
from qme.contracts.tasks import Outcome, Parent, TaskRecord
from qme.errors import InvalidRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def uuid(name: str) -> str:
    """A uuid that ends with a letter."""
    return f"0199aaaa-0000-7000-8000-00000000000{name}"


def record(name: str, outcome: Outcome | None, unmet: str | None = None) -> TaskRecord:
    """A task as far as its end goes."""
    return TaskRecord(
        uid=f"shell-{uuid(name)}",
        executor="shell",
        pool="p",
        command=name,
        user="ann",
        created=NOW,
        outcome=outcome,
        unmet=unmet and uuid(unmet),
    )


def test_what_failed_and_what_hung_on_it() -> None:
    """Ends other than success; down the graph what was cancelled for them, and not what somebody cancelled."""
    records = [
        record("a", Outcome.FAILED),
        record("b", Outcome.CANCELLED, "a"),
        record("c", Outcome.CANCELLED, "b"),
        record("d", Outcome.CANCELLED),
        record("e", Outcome.CANCELLED, "d"),
        record("f", Outcome.SUCCESS),
        record("0", Outcome.CANCELLED, "f"),
        record("1", None),
        record("2", Outcome.LOST),
        record("3", Outcome.CANCELLED, "9"),
    ]
    assert [one.command for one in failed(records)] == ["a", "b", "c", "2"]


def task(at: int, parents: set[int]) -> Submission:
    """A submission that waits for others by number."""
    after = tuple(Parent(uuid=str(parent)) for parent in sorted(parents))
    return Submission(uuid=str(at), argv=("true",), after=after)


@given(
    st.integers(1, 12).flatmap(
        lambda size: st.tuples(
            st.tuples(*(st.sets(st.integers(0, max(at - 1, 0)), max_size=3) for at in range(size))),
            st.permutations(range(size)),
        )
    )
)
def test_parents_come_first_in_any_graph(drawn: tuple[tuple[set[int], ...], list[int]]) -> None:
    """However they were given; all of them, each once; unchanged where they stood right already."""
    graph, order = drawn
    tasks = [task(at, parents - {at}) for at, parents in enumerate(graph)]
    mixed = [tasks[at] for at in order]
    found = list(parents_first(mixed))
    assert sorted(one.uuid for one in found) == sorted(one.uuid for one in tasks)
    place = {one.uuid: at for at, one in enumerate(found)}
    assert all(place[parent.uuid] < place[one.uuid] for one in found for parent in one.after)
    assert list(parents_first(tasks)) == tasks


def test_a_circle_is_said() -> None:
    """With the tasks that make it."""
    with pytest.raises(InvalidRequest, match="wait for each other: "):
        parents_first([task(0, {1}), task(1, {0})])
