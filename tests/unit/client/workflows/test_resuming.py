"""What of a workflow runs when it is submitted again."""

from __future__ import annotations

from datetime import UTC, datetime

from qme.client.workflows.resuming import independent, keyed, plan
from qme.contracts.messages import Submission
from qme.contracts.subjects import is_uuid
from qme.contracts.tasks import Outcome, Parent, TaskRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: a -> b -> d, a -> c -> d
GRAPH = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def tasks(
    there: set[str] | None = None, least: dict[str, int] | None = None, **words: str
) -> dict[str, Submission]:
    """The graph with keys; `words` are the commands of some tasks."""
    given = [
        (
            Submission(uuid="", argv=(words.get(name, "x"),), group="g", name=name),
            [Parent(uuid=parent) for parent in parents],
        )
        for name, parents in GRAPH.items()
    ]
    return {task.name or "": task for task in keyed("ann", given, there or set(), least or {})}


def record(task: Submission, outcome: Outcome | None, unmet: str | None = None) -> TaskRecord:
    """A task as it is stored."""
    return TaskRecord(
        uid=f"shell-{task.uuid}",
        executor="shell",
        pool="p",
        command="x",
        user="ann",
        created=NOW,
        group="g",
        name=task.name,
        outcome=outcome,
        unmet=unmet,
    )


def test_the_same_text_gives_the_same_tasks() -> None:
    """Uuids follow from the text alone, and parents are named by theirs."""
    one = tasks()
    assert one == tasks()
    assert all(is_uuid(task.uuid) for task in one.values())
    assert [parent.uuid for parent in one["d"].after] == [one["b"].uuid, one["c"].uuid]


def test_a_change_makes_new_tasks_from_there_on_down() -> None:
    """What stands beside it stays what it was."""
    before, after = tasks(), tasks(b="y")
    assert [name for name in GRAPH if before[name].uuid != after[name].uuid] == ["b", "d"]


def test_what_was_cleared_and_all_that_waits_for_it_gets_other_keys() -> None:
    """And the next submission finds those again by itself."""
    before, after = tasks(), tasks(least={"c": 1})
    assert [name for name in GRAPH if before[name].uuid != after[name].uuid] == ["c", "d"]
    assert tasks({after["c"].uuid, after["d"].uuid}) == after


def test_only_what_has_not_succeeded_runs() -> None:
    """Failed, cancelled by somebody or for a parent: again. Succeeded or on its way: kept. Not there: new."""
    own = tasks()
    there = [
        record(own["a"], Outcome.SUCCESS),
        record(own["b"], Outcome.FAILED),
        record(own["c"], None),
    ]
    what = plan(list(own.values()), there)
    assert [one.name for one in what.again] == ["b"]
    assert [one.name for one in what.kept] == ["a", "c"]
    assert [one.name for one in what.new] == ["d"]
    assert independent(what) == []
    fresh = plan(list(own.values()), there, fresh=True)
    assert [one.name for one in fresh.again] == ["a", "b"]


def test_what_waited_for_a_failure_that_did_not_come_is_left() -> None:
    """It would be cancelled for that once more; one whose parent failed runs again with it."""
    own = tasks()
    done = record(own["a"], Outcome.SUCCESS)
    what = plan(list(own.values()), [done, record(own["b"], Outcome.CANCELLED, own["a"].uuid)])
    assert what.again == ()
    failed = record(own["a"], Outcome.FAILED)
    what = plan(list(own.values()), [failed, record(own["b"], Outcome.CANCELLED, own["a"].uuid)])
    assert [one.name for one in what.again] == ["a", "b"]


def test_what_is_replaced_is_named_while_it_runs() -> None:
    """Of an earlier text: what has not ended has to be ended; what has stays as it is."""
    before, after = tasks(), tasks(b="y")
    there = [
        record(before["a"], Outcome.SUCCESS),
        record(before["b"], None),
        record(before["d"], Outcome.FAILED),
    ]
    what = plan(list(after.values()), there)
    assert [one.uuid for one in what.replaced] == [before["b"].uuid]
    assert [one.name for one in what.new] == ["b", "c", "d"]
    assert independent(what) == list(what.new)
