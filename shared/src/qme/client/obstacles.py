"""What keeps a task from starting, or from ending: one sentence for each thing, in the order in which they count. Pure.

Everything is concluded from `Facts`, which `why` gathers. What is not known says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qme.contracts.executors import Heartbeat, Pause
from qme.contracts.resources import unfit
from qme.contracts.tasks import Parent, Status, TaskRecord

#: what lasts until somebody does something about it; all else is the usual course of things
LASTING = frozenset(
    {"unknown_executor", "not_approved", "paused", "no_worker", "trouble", "unfit", "worker_paused"}
)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A task that another one waits for, as it stands."""

    parent: Parent
    record: TaskRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a reader can see of a task's surroundings."""

    record: TaskRecord
    now: datetime
    workers: Sequence[Heartbeat] = ()  #: those of its executor and pool that are alive
    pause: Pause | None = None
    known: bool = True  #: its executor is defined in its pool
    approved: bool = True
    last_seen: datetime | None = None  #: when a worker was last heard of, where none is alive
    parents: Sequence[Ancestor] = ()
    before: int | None = None  #: tasks that are queued before it in its executor and pool
    told: Sequence[str] = ()  #: what its executor says, such as a scheduler's own reason


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing, as a word for programs, a sentence for people, and what the sentence is made of."""

    kind: str
    says: str
    data: dict[str, Any] = field(default_factory=dict)


def obstacles(facts: Facts) -> list[Obstacle]:
    """Say why a task stands as it does; for one that has ended that it has, and how."""
    record = facts.record
    if record.ended:
        return [_end(facts)]
    return [*_cancelling(facts), *(_held(facts) if record.claim is not None else _free(facts))]


def sentence(facts: Facts) -> str | None:
    """Say what is worth telling somebody who waits for the start: the first thing that lasts."""
    record = facts.record
    waits = record.waiting_for is not None or record.not_before is not None
    if record.ended or record.cancel is not None or waits:
        return None
    found = next((one for one in obstacles(facts) if one.kind in LASTING), None)
    return None if found is None else f"{record.uid}: {found.says}"


def _end(facts: Facts) -> Obstacle:
    record = facts.record
    code = record.data.get("returncode")
    how = f"ended as {record.outcome}" + (f" (exit code {code})" if code else "")
    when = f", {ago(facts.now, record.finished)}" if record.finished else ""
    why = f": {record.reason}" if record.reason else ""
    guess = "; that is a guess, its worker may come back" if record.provisional else ""
    data = {
        "outcome": record.outcome,
        "returncode": code,
        "finished": record.finished,
        "reason": record.reason,
    }
    return Obstacle("ended", f"it {how}{when}{why}{guess}", data)


def _cancelling(facts: Facts) -> Iterator[Obstacle]:
    cancel = facts.record.cancel
    if cancel is not None:
        says = f"{cancel.by} asked for its end {ago(facts.now, cancel.at)}"
        yield Obstacle(
            "cancelling", says + (f": {cancel.reason}" if cancel.reason else ""), {"by": cancel.by}
        )


def _held(facts: Facts) -> Iterator[Obstacle]:
    record, claim = facts.record, facts.record.claim
    assert claim is not None  # noqa: S101 -- the caller has looked
    beat = next((one for one in facts.workers if one.worker == claim.worker), None)
    where = claim.worker + (f" on {claim.host}" if claim.host else "")
    data = {"worker": claim.worker, "host": claim.host, "seen": beat.at if beat else None}
    if record.status is Status.RUNNING:
        since = f", since {ago(facts.now, record.started)}" if record.started else ""
        yield Obstacle("running", f"it is with worker {where}{since}", data)
    else:
        yield Obstacle("claimed", f"worker {where} has it, and has not said yet that it runs", data)
    if beat is None:
        # Nobody else may say how it stands, and no clock ends it.
        yield Obstacle(
            "worker_silent", f"{claim.worker} is not heard of: how the task stands is not known", data
        )
    elif beat.paused and beat.pause is None:
        # Claimed a moment before the trouble, it may not have been started: the record can't tell.
        yield Obstacle("worker_paused", f"its worker, {claim.worker}, says: {beat.paused}", data)
    if facts.told:
        yield from (Obstacle("executor", one) for one in facts.told)
    elif record.reason:
        yield Obstacle("executor", record.reason)


def _free(facts: Facts) -> Iterator[Obstacle]:
    """What stands before a task that no worker has."""
    record = facts.record
    where = f"{record.executor} in pool {record.pool}"
    if not facts.known:
        yield Obstacle("unknown_executor", f"there is no executor {where} any more")
    elif not facts.approved:
        yield Obstacle("not_approved", f"an operator has to approve {where}")
    if (pause := facts.pause) is not None:
        says = f"{record.executor} is {pause.sentence} ({ago(facts.now, pause.at)})"
        yield Obstacle("paused", says, pause.model_dump(mode="json"))
    if not facts.workers:
        seen = f", the last was seen {ago(facts.now, facts.last_seen)}" if facts.last_seen else ""
        yield Obstacle("no_worker", f"no worker of {where} is alive{seen}", {"last_seen": facts.last_seen})
    yield from _troubles(facts)
    if record.waiting_for is not None:
        yield from _parents(facts)
    elif (array := record.array) is not None:
        says = f"it is an array: {array.made} of its {array.count} tasks are made, the others as their turn comes"
        yield Obstacle("array", says, array.model_dump())
        return
    elif record.not_before is not None:
        left = max(0.0, (record.not_before - facts.now).total_seconds())
        says = f"attempt {record.attempt} begins in {span(left)}: it ended badly before, and waits"
        yield Obstacle("not_before", says, {"not_before": record.not_before})
    elif record.released is None:
        says = f"it is not its turn: higher priorities go first (its own is {record.priority}), and users take turns"
        yield Obstacle("turn", says, {"priority": record.priority})
        if (element := record.element) is not None and element.throttle:
            says = f"of its array at most {element.throttle} are released at once"
            yield Obstacle("throttle", says, {"of": element.of, "throttle": element.throttle})
    yield from _line(facts)


def _troubles(facts: Facts) -> Iterator[Obstacle]:
    """What all workers have that take nothing, by themselves and not as an operator wants it; or not this task."""
    own = [one.paused for one in facts.workers if one.paused and one.pause is None]
    if facts.workers and len(own) == len(facts.workers):
        told = "; ".join(sorted(set(own)))
        yield Obstacle("trouble", f"{facts.record.executor} takes nothing now: {told}", {"says": own})
        return
    why = unfit(facts.record.resources, [one.capacity for one in facts.workers])
    if why is not None:
        yield Obstacle("unfit", why)


def _parents(facts: Facts) -> Iterator[Obstacle]:
    waiting = facts.record.waiting_for
    assert waiting is not None  # noqa: S101 -- the caller has looked
    for one in facts.parents:
        stands = "is gone" if one.record is None else f"is {one.record.outcome or one.record.status}"
        wish = {"success": "to end well", "any": "to end", "fail": "to fail"}[one.parent.on]
        name = one.record.uid if one.record else one.parent.uuid
        yield Obstacle("parent", f"it waits for {name} {wish}, which {stands}", {"uuid": one.parent.uuid})
    if (more := waiting.count - len(facts.parents)) > 0:
        yield Obstacle("parents", f"and for {more} other task(s)", {"count": more})


def _line(facts: Facts) -> Iterator[Obstacle]:
    """The usual course of things: others are before it, and slots are few."""
    record = facts.record
    if record.waiting_for is not None or record.not_before is not None:
        return
    if facts.before:
        says = f"{facts.before} task(s) are queued before it in {record.executor}, pool {record.pool}"
        yield Obstacle("line", says, {"before": facts.before})
    at_work = [one for one in facts.workers if not one.paused]
    slots, active = sum(one.slots for one in at_work), sum(one.active for one in at_work)
    if at_work and active >= slots:
        yield Obstacle(
            "slots", f"all {slots} slot(s) of {len(at_work)} worker(s) are taken", {"slots": slots}
        )
    elif at_work and record.due and not facts.before:
        yield Obstacle("next", "it is next: a worker with a free slot takes it in a moment")


def ago(now: datetime, then: datetime | None) -> str:
    """Say how long ago something was."""
    return "at some time" if then is None else f"{span((now - then).total_seconds())} ago"


def span(seconds: float) -> str:
    """Say a length of time in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
