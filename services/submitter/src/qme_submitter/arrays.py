"""What is known of each array: which of its tasks are made, wait, are at work, have ended. No IO; `making` makes them.

A byte and a revision for each task, so a million of them take 9 MB; whatever is told late or twice changes nothing.
"""

from __future__ import annotations

from array import array as numbers
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from qme.bus.kv import OPERATION
from qme.bus.port import Message
from qme.contracts.arrays import Progress, family, is_element, place_of
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import (
    HEADER_ATTEMPT,
    HEADER_OUTCOME,
    HEADER_PROVISIONAL,
    HEADER_STATUS,
    HEADER_WAITS,
    Outcome,
    TaskRecord,
)

#: tasks of an array that wait, once made, for a turn: fewer, and the next ones are made
LOW = 64


class State(IntEnum):
    """How one task of an array stands."""

    UNMADE = 0
    WAITS = 1
    ACTIVE = 2
    SUCCESS = 3
    BAD = 4


@dataclass
class Head:
    """One array."""

    key: TaskKey
    record: TaskRecord
    revision: int
    progress: Progress
    states: bytearray = field(init=False)
    #: tasks of a first attempt that have not ended, by place: what a cancelled array still has to end
    first: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.states = bytearray(self.progress.count)
        self._revisions = numbers("Q", bytes(8 * self.progress.count))
        self.counts = Counter({State.UNMADE: self.progress.count})

    def set(self, at: int, revision: int, state: State, attempt: int) -> None:
        """Take in how a task stood at a revision."""
        if at >= len(self.states) or revision <= self._revisions[at]:
            return
        self._revisions[at] = revision
        self.counts[State(self.states[at])] -= 1
        self.counts[state] += 1
        self.states[at] = state
        is_open = state in (State.WAITS, State.ACTIVE) and attempt == 1
        (self.first.add if is_open else self.first.discard)(at)

    @property
    def known(self) -> Progress:
        """How it stands, as far as is known."""
        counts = self.counts
        return self.progress.model_copy(
            update={"success": counts[State.SUCCESS], "failed": counts[State.BAD]}
        )

    @property
    def is_over(self) -> bool:
        """All of its tasks have ended."""
        return self.counts[State.SUCCESS] + self.counts[State.BAD] == self.progress.count

    @property
    def wants(self) -> bool:
        """The next tasks are to be made."""
        ended = self.record.ended
        return not ended and self.progress.made < self.progress.count and self.counts[State.WAITS] < LOW

    def has_room(self, at: int) -> bool:
        """Tell whether the task at a place may be released beside those that are."""
        others = self.counts[State.ACTIVE] - (self.states[at] == State.ACTIVE)
        return not self.progress.throttle or others < self.progress.throttle


class Arrays:
    """All arrays whose heads were read, with the tasks that were seen."""

    def __init__(self) -> None:
        self.heads: dict[str, Head] = {}
        #: elements that were read before their head
        self._early: dict[str, list[tuple[int, int, State, int]]] = {}

    def note(self, record: TaskRecord, revision: int) -> None:
        """Take in a record, be it a head's or an element's."""
        if record.array is not None:
            name = family(record.uuid)
            known = self.heads.get(name)
            if known is None:
                known = self.heads[name] = Head(record.key, record, revision, record.array)
                for at, seen, state, attempt in self._early.pop(name, ()):
                    known.set(at, seen, state, attempt)
            elif revision > known.revision:
                known.record, known.revision, known.progress = record, revision, record.array
        elif record.element is not None:
            self._set(record.uuid, revision, _state(record), record.attempt)

    def hear(self, uuid: str, event: Message) -> bool:
        """Take in a change of an element; tells whether it was one."""
        if not is_element(uuid):
            return False
        headers = event.headers
        attempt = headers.get(HEADER_ATTEMPT, "1")
        if OPERATION in headers or HEADER_STATUS not in headers or not attempt.isdigit():
            return True  # a removed one had ended
        outcome = headers.get(HEADER_OUTCOME)
        state = State.WAITS if HEADER_WAITS in headers else State.ACTIVE
        if outcome is not None and HEADER_PROVISIONAL not in headers:
            state = State.SUCCESS if outcome == Outcome.SUCCESS else State.BAD
        self._set(uuid, event.seq, state, int(attempt))
        return True

    def head_of(self, uuid: str) -> Head | None:
        """Find the array of an element."""
        return self.heads.get(family(uuid)) if is_element(uuid) else None

    def _set(self, uuid: str, revision: int, state: State, attempt: int) -> None:
        head = self.heads.get(family(uuid))
        if head is None:
            self._early.setdefault(family(uuid), []).append((place_of(uuid), revision, state, attempt))
        else:
            head.set(place_of(uuid), revision, state, attempt)


def _state(record: TaskRecord) -> State:
    if record.ended and not record.provisional:
        return State.SUCCESS if record.outcome is Outcome.SUCCESS else State.BAD
    return State.WAITS if record.waits else State.ACTIVE
