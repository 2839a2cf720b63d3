"""What waits for its release, and for whom: an index in memory of tasks, parents and children. No IO, no clock.

It is a copy: whoever acts on it writes by compare-and-set, and what is told twice, late or out of order leaves it as
the highest revision says. Only parents that somebody waits for are known to it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern

from qme.contracts.resources import Resources
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import On, Parent, TaskRecord
from qme.lifecycle import Met, Never, Standing, Verdict, Waits, edge
from qme_submitter.turns import Turns

_UNENDED = Standing()
#: shared by all that wait for nobody
_NONE: Mapping[str, On] = {}
_NOBODY: set[str] = set()


@dataclass(slots=True)
class Waiting:
    """A task that is not released."""

    key: TaskKey
    revision: int
    attempt: int
    user: str
    priority: int
    not_before: datetime | None
    resources: Resources | None
    reason: str | None
    parents: Mapping[str, On]
    #: those of them that have not ended as they should
    open: set[str]

    @classmethod
    def of(cls, record: TaskRecord, revision: int, parents: Mapping[str, On]) -> Waiting:
        """Keep of a record what counts here: there may be hundreds of thousands of them."""
        key = TaskKey(intern(record.executor), intern(record.pool), record.uuid)
        return cls(
            key,
            revision,
            record.attempt,
            intern(record.user),
            record.priority,
            record.not_before,
            record.resources,
            record.reason,
            parents or _NONE,
            set(parents) if parents else _NOBODY,
        )


@dataclass
class Index:
    """All tasks that wait, by uuid."""

    settle: float  #: seconds for which a provisional `lost` may still be corrected
    tasks: dict[str, Waiting] = field(default_factory=dict)
    #: tasks that have to be judged: something about them has changed
    suspects: dict[str, None] = field(default_factory=dict)
    #: tasks that nothing holds back but their turn
    ready: Turns = field(default_factory=Turns)
    #: parents of whom nothing is known yet
    unknown: dict[str, None] = field(default_factory=dict)
    _children: dict[str, set[str]] = field(default_factory=dict)
    _standings: dict[str, tuple[int, Standing]] = field(default_factory=dict)
    #: revision at which a task stopped waiting, so that older news does not put it back
    _left: dict[str, int] = field(default_factory=dict)
    _timers: list[tuple[datetime, str]] = field(default_factory=list)
    #: of those judged before: parents of whom something was told since. Of thousands not all are looked at each time
    _news: dict[str, set[str]] = field(default_factory=dict)

    # -- what becomes known ------------------------------------------------------------------------------------------
    def add(self, record: TaskRecord, revision: int, parents: Iterable[Parent]) -> None:
        """Take in a task that waits, as its record stood at a revision."""
        uuid = record.uuid
        known = self.tasks.get(uuid)
        if known is not None and known.key != record.key:
            known = None  # whoever tells has made sure which of them it is
        if revision <= (known.revision if known else self._left.get(uuid, 0)):
            return
        self._unlink(uuid)
        self._left.pop(uuid, None)
        wanted = {parent.uuid: parent.on for parent in parents}
        self.tasks[uuid] = Waiting.of(record, revision, wanted)
        for parent in wanted:
            self._children.setdefault(parent, set()).add(uuid)
            if parent not in self._standings:
                if parent in self.tasks:
                    self._standings[parent] = (self.tasks[parent].revision, _UNENDED)
                else:
                    self.unknown[parent] = None
        self.suspects[uuid] = None
        self.stands(uuid, revision, _UNENDED)

    def left(self, uuid: str, revision: int) -> None:
        """Take in that a task does not wait (any more), as of a revision."""
        known = self.tasks.get(uuid)
        if known is None or revision <= known.revision:
            return
        self._unlink(uuid)
        if uuid in self._children:
            self._left[uuid] = revision

    def stands(self, uuid: str, revision: int, standing: Standing) -> None:
        """Take in how a task stood at a revision; those who wait for it have to be judged again."""
        children = self._children.get(uuid)
        if not children:
            return
        before = self._standings.get(uuid)
        if before is not None and (revision < before[0] or before[1] == standing):
            return
        self.unknown.pop(uuid, None)
        self._standings[uuid] = (revision, standing)
        for child in children:
            # Met before, it need not be now: the parent may have been rerun.
            self.tasks[child].open.add(uuid)
            if child in self._news:
                self._news[child].add(uuid)
            self.ready.discard(child)
            self.suspects[child] = None

    def is_parent(self, uuid: str) -> bool:
        """Tell whether somebody waits for a task."""
        return uuid in self._children

    # -- what follows ------------------------------------------------------------------------------------------------
    def judge(self, uuid: str, now: datetime) -> Verdict:
        """Say how things stand for a task that waits; a time at which to look again is kept in mind.

        One that can't start any more stays a suspect until it has left.
        """
        task = self.tasks[uuid]
        self.ready.discard(uuid)
        not_before = task.not_before
        until = not_before if not_before is not None and now < not_before else None
        waits = until is not None
        news = self._news.pop(uuid, None)
        for parent in list(task.open if news is None else news & task.open):
            known = self._standings.get(parent)
            verdict: Verdict = Waits()
            if known is not None:
                verdict = edge(Parent(uuid=parent, on=task.parents[parent]), known[1], now, self.settle)
            if isinstance(verdict, Never):
                return verdict
            if isinstance(verdict, Met):
                task.open.discard(parent)
                continue
            if verdict.until is not None:
                until = min(until or verdict.until, verdict.until)
        self.suspects.pop(uuid, None)
        if task.open:
            self._news[uuid] = set()
        if until is not None:
            heapq.heappush(self._timers, (until, uuid))
        if waits or task.open:
            return Waits(until)
        self.ready.add(task)
        return Met()

    def wake(self, now: datetime) -> datetime | None:
        """Make suspects of those whose time has come; give the next time."""
        while self._timers and self._timers[0][0] <= now:
            _, uuid = heapq.heappop(self._timers)
            self._news.pop(uuid, None)
            if uuid in self.tasks:
                self.suspects[uuid] = None
        return self._timers[0][0] if self._timers else None

    def _unlink(self, uuid: str) -> None:
        task = self.tasks.pop(uuid, None)
        self.suspects.pop(uuid, None)
        self._news.pop(uuid, None)
        self.ready.discard(uuid)
        for parent in task.parents if task else ():
            children = self._children[parent]
            children.discard(uuid)
            if not children:
                del self._children[parent]
                self._standings.pop(parent, None)
                self.unknown.pop(parent, None)
                self._left.pop(parent, None)
