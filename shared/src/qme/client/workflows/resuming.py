"""What of a workflow has to run: told from its tasks as they would be submitted and from those that are there. Pure.

Each task's key is made of the workflow's name, its own name, and a digest of all that it says and of its parents' keys.
So the same text gives the same task, and what is changed is a new one, together with everything that waits for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qme.contracts.messages import Submission
from qme.contracts.subjects import keyed_uuid
from qme.contracts.tasks import Outcome, Parent, TaskRecord

#: times that a task may have been cleared within days and be submitted anew
GENERATIONS = 20
#: what of a submission is not its content
_APART = {"uuid", "key", "host", "after"}


def keyed(
    user: str,
    tasks: Iterable[tuple[Submission, Sequence[Parent]]],
    there: Container[str],
    least: Mapping[str, int],
) -> list[Submission]:
    """Give tasks their keys and uuids. They come parents first; parents are given by name in place of a uuid.

    `user` is a token, `there` the uuids of tasks that exist. A key that was cleared can't be used again for a while,
    so there are several for the same text: the first that is there, of those from `least` (by name) on, else that one.
    """
    done: dict[str, Submission] = {}
    for task, parents in tasks:
        name = task.name or ""
        # Without defaults, so that what a later version adds changes no key.
        digest = hashlib.sha256(task.model_dump_json(exclude=_APART, exclude_defaults=True).encode())
        after = tuple(Parent(uuid=done[parent.uuid].uuid, on=parent.on) for parent in parents)
        for parent in sorted(parents, key=lambda one: one.uuid):
            digest.update(f"\0{parent.on.value} {done[parent.uuid].key}".encode())
        stem, lowest = f"{task.group}/{name[:100]}/{digest.hexdigest()[:24]}", least.get(name, 0)
        keys = [stem + "+" * generation for generation in range(lowest, GENERATIONS)]
        key = next((key for key in keys if keyed_uuid(user, key) in there), keys[0])
        done[name] = task.model_copy(update={"key": key, "uuid": keyed_uuid(user, key), "after": after})
    return list(done.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a workflow's tasks: by record for those that are there, by submission for the others."""

    kept: tuple[TaskRecord, ...]  #: succeeded, or on their way
    again: tuple[TaskRecord, ...]  #: ended, and shall run once more
    new: tuple[Submission, ...]
    replaced: tuple[TaskRecord, ...]  #: of an earlier text, and not ended


def plan(tasks: Sequence[Submission], there: Sequence[TaskRecord], *, fresh: bool = False) -> Plan:
    """Compare a workflow with all tasks of its group that are there. `fresh`: what has succeeded runs again, too."""
    known = {record.uuid: record for record in there}
    own = {task.uuid for task in tasks}
    again = []
    for task in tasks:
        record = known.get(task.uuid)
        if record is not None and ((fresh and record.ended) or _runs_again(record, known)):
            again.append(record)
    chosen = {record.uuid for record in again}
    return Plan(
        kept=tuple(known[task.uuid] for task in tasks if task.uuid in known and task.uuid not in chosen),
        again=tuple(again),
        new=tuple(task for task in tasks if task.uuid not in known),
        replaced=tuple(
            record
            for record in there
            if record.uuid not in own and record.name is not None and not record.ended
        ),
    )


def _runs_again(record: TaskRecord, known: Mapping[str, TaskRecord]) -> bool:
    if record.outcome in (None, Outcome.SUCCESS) or record.provisional:
        return False
    parent = known.get(record.unmet or "")
    # It waits for a failure that did not come: it would be cancelled for that again.
    return parent is None or parent.outcome is not Outcome.SUCCESS


def independent(what: Plan) -> list[Submission]:
    """Give the new tasks that hang on none that runs again, however far up the graph."""
    waiting = {record.uuid for record in what.again}
    free = []
    for task in what.new:
        if any(parent.uuid in waiting for parent in task.after):
            waiting.add(task.uuid)
        else:
            free.append(task)
    return free
