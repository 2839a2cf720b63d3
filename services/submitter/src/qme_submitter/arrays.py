"""What is known of each array: which of its tasks are made, wait, are at work, have ended. No IO; `making` makes them.

A byte and a revision for each task that was made, 9 MB for a million; whatever is told late or twice changes
nothing.
"""

from __future__ import annotations

from array import array as numbers
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

from qme.bus.kv import OPERATION
from qme.bus.port import Message
from qme.contracts.arrays import MAX_ELEMENTS, Progress, family, is_element, place_of
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


class States:
    """How the tasks of one array stand, as far as they were seen."""

    def __init__(self) -> None:
        self._states = bytearray()
        self._revisions = numbers("Q")
        self.counts: Counter[State] = Counter()
        #: tasks of a first attempt that have not ended, by place: what a cancelled array still has to end
        self.first: set[int] = set()

    def of(self, at: int) -> State:
        """Give how the task at a place stands."""
        return State(self._states[at]) if at < len(self._states) else State.UNMADE

    def set(self, at: int, revision: int, state: State, attempt: int) -> None:
        """Take in how a task stood at a revision."""
        if at >= len(self._states):
            more = at + 1 - len(self._states)
            self._states.extend(bytes(more))
            self._revisions.frombytes(bytes(8 * more))
        if revision <= self._revisions[at]:
            return
        self._revisions[at] = revision
        self.counts[State(self._states[at])] -= 1
        self.counts[state] += 1
        self._states[at] = state
        is_open = state in (State.WAITS, State.ACTIVE) and attempt == 1
        (self.first.add if is_open else self.first.discard)(at)


@dataclass
class Head:
    """One array that has not ended, or was cancelled."""

    key: TaskKey
    record: TaskRecord
    revision: int
    progress: Progress
    states: States

    @property
    def known(self) -> Progress:
        """How it stands, as far as is known."""
        counts = self.states.counts
        return self.progress.model_copy(
            update={"success": counts[State.SUCCESS], "failed": counts[State.BAD]}
        )

    @property
    def is_over(self) -> bool:
        """All of its tasks have ended."""
        counts = self.states.counts
        return counts[State.SUCCESS] + counts[State.BAD] == self.progress.count

    @property
    def is_cancelled(self) -> bool:
        """Nothing of it shall run."""
        return self.record.outcome is Outcome.CANCELLED

    @property
    def wants(self) -> bool:
        """The next tasks are to be made."""
        ended = self.record.ended
        return (
            not ended and self.progress.made < self.progress.count and self.states.counts[State.WAITS] < LOW
        )

    def has_room(self, at: int) -> bool:
        """Tell whether the task at a place may be released beside those that are."""
        others = self.states.counts[State.ACTIVE] - (self.states.of(at) is State.ACTIVE)
        return not self.progress.throttle or others < self.progress.throttle


class Arrays:
    """All arrays that somebody has to do something about, and the tasks that were seen of them."""

    def __init__(self) -> None:
        self.heads: dict[str, Head] = {}
        self._states: dict[str, States] = {}
        #: arrays that have ended, of whose tasks nothing need be remembered
        self._over: set[str] = set()

    def note(self, record: TaskRecord, revision: int) -> None:
        """Take in a record, be it a head's or an element's."""
        if record.array is not None:
            self._note_head(family(record.uuid), record, revision, record.array)
        elif record.element is not None:
            self._set(record.uuid, revision, _state(record), record.attempt)

    def _note_head(self, name: str, record: TaskRecord, revision: int, progress: Progress) -> None:
        if record.ended and record.outcome is not Outcome.CANCELLED:
            self.forget(record.uuid)
            self._over.add(name)
            return
        known = self.heads.get(name)
        if known is None:
            states = self._states.setdefault(name, States())
            self.heads[name] = Head(record.key, record, revision, progress, states)
        elif revision > known.revision:
            known.record, known.revision, known.progress = record, revision, progress

    def forget(self, uuid: str) -> None:
        """Drop what is known of an array."""
        self.heads.pop(family(uuid), None)
        self._states.pop(family(uuid), None)

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
        name, at = family(uuid), place_of(uuid)
        if name not in self._over and at < MAX_ELEMENTS:
            self._states.setdefault(name, States()).set(at, revision, state, attempt)


def _state(record: TaskRecord) -> State:
    if record.ended and not record.provisional:
        return State.SUCCESS if record.outcome is Outcome.SUCCESS else State.BAD
    return State.WAITS if record.waits else State.ACTIVE
