"""What is known of each array: which of its tasks are made, wait, are at work, have ended. No IO; `making` makes them.

A byte and a revision for each task that was made, 9 MB for a million; whatever is told late or twice changes
nothing. Records, and the headers of changes, are written by workers: what they say may be untrue. So an array is known
by its pool too.
"""

from __future__ import annotations

import re
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
_NUMBER = re.compile(r"[0-9]{1,9}\Z")


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

    def unseen(self, count: int, most: int) -> list[int]:
        """Give the places, of so many, of the first tasks that were not seen."""
        found: list[int] = []
        at = self._states.find(State.UNMADE)
        while at >= 0 and len(found) < most:
            found.append(at)
            at = self._states.find(State.UNMADE, at + 1)
        return found or list(range(len(self._states), count))[:most]

    def set(self, at: int, revision: int, state: State, attempt: int, *, guess: bool = False) -> None:
        """Take in how a task stood at a revision; a `guess` is how it is about to stand after that one."""
        if at >= len(self._states):
            more = at + 1 - len(self._states)
            self._states.extend(bytes(more))
            self._revisions.frombytes(bytes(8 * more))
        known = self._revisions[at]
        if revision < known or (revision == known and not guess):
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
    #: its record was removed
    is_cleared: bool = False

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
    def is_forgotten(self) -> bool:
        """Nothing has to be known of it any more."""
        return self.is_cleared and not self._open

    @property
    def lacks(self) -> bool:
        """All were made and none is at work, but some were not seen: cleared, mostly."""
        return self.progress.made == self.progress.count and not self._open and not self.is_over

    @property
    def _open(self) -> int:
        return self.states.counts[State.WAITS] + self.states.counts[State.ACTIVE]

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
        #: elements that were read before their head, by array and place; None: all heads have been read
        self._early: dict[str, dict[int, tuple[int, State, int]]] | None = {}

    def all_read(self) -> None:
        """Take in that every record there was has been read: an element without a head has none any more."""
        self._early = None

    def note(self, record: TaskRecord, revision: int) -> None:
        """Take in a record, be it a head's or an element's."""
        if record.array is not None:
            self._note_head(_name(record.key), record, revision, record.array)
        elif record.element is not None and is_element(record.uuid):
            self._set(record.key, revision, _state(record), record.attempt)

    def _note_head(self, name: str, record: TaskRecord, revision: int, progress: Progress) -> None:
        if record.ended and record.outcome is not Outcome.CANCELLED:
            self.forget(record.key)
            self._over.add(name)
            return
        known = self.heads.get(name)
        if known is None:
            states = self._states.setdefault(name, States())
            self.heads[name] = Head(record.key, record, revision, progress, states)
            for at, seen in (self._early or {}).pop(name, {}).items():
                states.set(at, *seen)
        elif revision > known.revision:
            known.record, known.revision, known.progress = record, revision, progress

    def drop(self, head: Head) -> None:
        """Do nothing more about an array, until its record is noted again."""
        self.heads.pop(_name(head.key), None)

    def forget(self, key: TaskKey) -> None:
        """Drop what is known of an array."""
        name = _name(key)
        self.heads.pop(name, None)
        self._states.pop(name, None)
        (self._early or {}).pop(name, None)

    def gone(self, key: TaskKey) -> None:
        """Take in that a record was removed."""
        head = self.heads.get(_name(key))
        if head is not None and head.key == key:
            head.is_cleared = True

    def hear(self, key: TaskKey, event: Message) -> bool:
        """Take in a change of an element; tells whether it was one."""
        if not is_element(key.uuid):
            return False
        headers = event.headers
        attempt = headers.get(HEADER_ATTEMPT, "1")
        if OPERATION in headers or HEADER_STATUS not in headers or not _NUMBER.match(attempt):
            return True  # a removed one had ended
        outcome = headers.get(HEADER_OUTCOME)
        state = State.WAITS if HEADER_WAITS in headers else State.ACTIVE
        if outcome is not None and HEADER_PROVISIONAL not in headers:
            state = State.SUCCESS if outcome == Outcome.SUCCESS else State.BAD
        self._set(key, event.seq, state, int(attempt))
        return True

    def head_of(self, key: TaskKey) -> Head | None:
        """Find the array of an element."""
        return self.heads.get(_name(key)) if is_element(key.uuid) else None

    def has(self, key: TaskKey) -> bool:
        """Tell whether this is an array's head, of one that somebody has to do something about."""
        return not is_element(key.uuid) and _name(key) in self.heads

    def _set(self, key: TaskKey, revision: int, state: State, attempt: int) -> None:
        name, at = _name(key), place_of(key.uuid)
        if name in self._over or at >= MAX_ELEMENTS:
            return
        if (states := self._states.get(name)) is not None:
            states.set(at, revision, state, attempt)
        elif self._early is not None:
            early = self._early.setdefault(name, {})
            early[at] = max(early.get(at, (0, state, attempt)), (revision, state, attempt))


def _name(key: TaskKey) -> str:
    return f"{key.executor}.{key.pool}.{family(key.uuid)}"


def _state(record: TaskRecord) -> State:
    if record.ended and not record.provisional:
        return State.SUCCESS if record.outcome is Outcome.SUCCESS else State.BAD
    return State.WAITS if record.waits else State.ACTIVE
