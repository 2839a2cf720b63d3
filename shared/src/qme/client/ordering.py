"""The order in which tasks that wait for each other are submitted: parents first, so that requests can be split."""

from __future__ import annotations

from collections.abc import Iterable

from qme.contracts.messages import Submission
from qme.errors import InvalidRequest


def parents_first(tasks: Iterable[Submission]) -> Iterable[Submission]:
    """Put tasks behind those of them that they wait for; they stay as they are where that is so already.

    Raises InvalidRequest where tasks wait for each other in a circle.
    """
    given = list(tasks)
    seen: set[str] = set()
    own = {task.uuid for task in given}
    for task in given:
        if any(parent.uuid in own and parent.uuid not in seen for parent in task.after):
            return _sorted(given)
        seen.add(task.uuid)
    return given


def _sorted(tasks: list[Submission]) -> list[Submission]:
    from graphlib import CycleError, TopologicalSorter  # most commands have nothing to sort

    place = {task.uuid: at for at, task in enumerate(tasks)}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for task in tasks:
        sorter.add(task.uuid, *(parent.uuid for parent in task.after if parent.uuid in place))
    try:
        sorter.prepare()
    except CycleError as error:
        raise InvalidRequest(f"these tasks wait for each other: {' -> '.join(error.args[1])}") from None
    done: list[Submission] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        done += [tasks[place[uuid]] for uuid in ready]
        sorter.done(*ready)
    return done
