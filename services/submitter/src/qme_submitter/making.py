"""Makes the tasks of arrays as they are needed, ends those of a cancelled one, and ends a head once all have ended.

Every write is a create, or a compare-and-set, of what follows from the head's spec alone. So whoever leads may begin
again at any point where another one was killed, and two at once make the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest

from qme.bus.kv import Corrupt, Entry
from qme.contracts import arrays as contract
from qme.contracts.arrays import Array, Element, element_uuid
from qme.contracts.subjects import TaskKey, any_key
from qme.contracts.tasks import Outcome, TaskRecord, TaskSpec, event_headers
from qme.errors import BusUnavailable, Conflict, InvalidRequest, NotFound
from qme.lifecycle import CancelAsked, Gathered, new_record, step_headers
from qme.observe.logging import get_logger
from qme_submitter.arrays import Arrays, Head, State
from qme_submitter.changes import Changes

log = get_logger(__name__)

#: tasks of an array that are made, or ended, in one go, and how many such goes the others' releases wait for: with a
#: thousand arrays all at once they would wait for minutes
BATCH, BATCHES = 64, 8


class Making:
    """Works on the arrays that are known, a few batches at a time."""

    def __init__(self, changes: Changes, arrays: Arrays, limit: int = 0) -> None:
        """`limit` is how many tasks one user may have waiting, 0: any number; for one who has, no more are made."""
        self._changes = changes
        self._buckets = changes.buckets
        self._arrays = arrays
        self._limit = limit
        self._specs: dict[str, TaskSpec] = {}

    async def work(self) -> list[Entry[TaskRecord]]:
        """Do the next batches; gives the records made. Raises what the bus raises; may be repeated."""
        made: list[Entry[TaskRecord]] = []
        for head in self._due()[:BATCHES]:
            try:
                made += await self._work_on(head)
            except BusUnavailable:
                raise
            except Exception:
                # One odd array must not keep all other tasks from their release; it is read again once it changes.
                log.exception("arrays.work_failed", array=head.key.taskid)
                self._arrays.drop(head)
        return made

    async def _work_on(self, head: Head) -> list[Entry[TaskRecord]]:
        if head.is_forgotten:
            self._arrays.forget(head.key)
        elif head.is_cancelled and head.states.first:
            await self._end_elements(head)
        elif not head.record.ended:
            if head.wants:
                return await self._make(head)
            if head.lacks:
                await self._look_for(head, head.states.unseen(head.progress.count, BATCH))
            elif head.is_over:
                await self._gather(head)
        return []

    @property
    def is_busy(self) -> bool:
        """There is something to do now."""
        return any(not head.is_forgotten for head in self._due())

    def _due(self) -> list[Head]:
        """Give the arrays with something to do: one of each user's in turn, first those of which least waits."""
        heads = sorted(self._arrays.heads.values(), key=lambda head: head.states.counts[State.WAITS])
        waiting: Counter[tuple[str, ...]] = Counter()
        for head in heads:
            waiting[_whose(head)] += head.states.counts[State.WAITS]
        users: dict[tuple[str, ...], list[Head]] = {}
        for head in heads:
            whose = _whose(head)
            if head.wants and not head.is_forgotten:
                if self._limit and waiting[whose] >= self._limit:
                    continue
                waiting[whose] += BATCH
            elif not (
                head.is_forgotten
                or ((head.is_over or head.lacks) and not head.record.ended)
                or (head.is_cancelled and head.states.first)
            ):
                continue
            users.setdefault(whose, []).append(head)
        return [head for turn in zip_longest(*users.values()) for head in turn if head is not None]

    async def _make(self, head: Head) -> list[Entry[TaskRecord]]:
        spec = await self._spec(head)
        if spec is None or spec.array is None:
            await self._apply(head, Gathered(Outcome.SUBMIT_FAILED, self._buckets.clock(), head.known, _LOST))
            return []
        if spec.array.count != head.progress.count:
            raise InvalidRequest("its record does not say how many tasks were submitted")
        begin = head.progress.made
        end = min(begin + BATCH, head.progress.count)
        places = range(begin, end)
        made = await asyncio.gather(*(self._element(head, spec, spec.array, at) for at in places))
        # Counted last: one that is killed before this makes the same ones again, which are there.
        progress = head.known.model_copy(update={"made": end})
        await self._apply(head, Gathered(None, self._buckets.clock(), progress))
        return [entry for entry in made if entry is not None]

    async def _element(self, head: Head, spec: TaskSpec, array: Array, at: int) -> Entry[TaskRecord] | None:
        uuid = element_uuid(head.key.uuid, at)
        key = TaskKey(head.key.executor, head.key.pool, uuid)
        own = element(spec, array, _lines(array), at)
        try:
            await self._buckets.specs.create(str(key), own, unless=any_key(uuid))
        except Conflict:
            seen = await self._buckets.specs.look(any_key(uuid), leader=True)
            if not isinstance(seen, Entry) or seen.value.element != own.element:
                log.warning("arrays.not_made", task=key.taskid, array=head.key.taskid)
                return None
        record = new_record(own, key, self._buckets.clock())
        headers = event_headers(record, own.user) | step_headers(None, record)
        try:
            revision = await self._buckets.records.create(str(key), record, headers=headers)
        except Conflict:
            seen_record = await self._buckets.records.look(str(key), leader=True)
            return seen_record if isinstance(seen_record, Entry) else None
        return Entry(str(key), record, revision)

    async def _spec(self, head: Head) -> TaskSpec | None:
        uuid = head.key.uuid
        if uuid not in self._specs:
            found = await self._buckets.specs.get(str(head.key), leader=True)
            if found is None:
                return None
            if len(self._specs) > BATCH:
                self._specs.clear()
            self._specs[uuid] = found.value
        return self._specs[uuid]

    async def _end_elements(self, head: Head) -> None:
        wish = head.record.cancel
        by = wish.by if wish else head.record.user
        event = CancelAsked(by, self._buckets.clock(), 1, "its array was cancelled")
        places = sorted(head.states.first)[:BATCH]

        async def end(at: int) -> None:
            key = TaskKey(head.key.executor, head.key.pool, element_uuid(head.key.uuid, at))
            try:
                await self._changes.apply(key, event, by)
            except (InvalidRequest, NotFound, Conflict) as error:
                log.warning("arrays.not_cancelled", task=key.taskid, error=error.message)
            head.states.first.discard(at)  # asked; what becomes of it is its worker's

        await asyncio.gather(*(end(at) for at in places))

    async def _look_for(self, head: Head, places: Sequence[int]) -> None:
        async def look(at: int) -> None:
            key = TaskKey(head.key.executor, head.key.pool, element_uuid(head.key.uuid, at))
            seen = await self._buckets.records.look(str(key), leader=True)
            if isinstance(seen, Entry) and seen.value.key == key:
                self._arrays.note(seen.value, seen.revision)
            # What is not there had ended, and nobody can tell how.
            state = State.ACTIVE if isinstance(seen, Corrupt) else State.BAD
            head.states.set(at, seen.revision if seen else 1, state, 1)

        await asyncio.gather(*(look(at) for at in places))

    async def _gather(self, head: Head) -> None:
        progress = head.known
        bad = progress.failed
        reason = f"{bad} of {progress.count} did not succeed" if bad else None
        outcome = Outcome.FAILED if bad else Outcome.SUCCESS
        await self._apply(head, Gathered(outcome, self._buckets.clock(), progress, reason))

    async def _apply(self, head: Head, event: Gathered) -> None:
        try:
            done, _ = await self._changes.apply(head.key, event, self._buckets.bus.user)
        except (InvalidRequest, NotFound, Conflict) as error:
            log.warning("arrays.change_refused", array=head.key.taskid, error=error.message)
            self._arrays.drop(head)  # read again once it changes
            return
        head.record = done.record
        head.progress = done.record.array or head.progress
        if done.record.ended:
            self._arrays.note(done.record, head.revision + 1)


def _whose(head: Head) -> tuple[str, ...]:
    # By place too: a pool's worker, which writes its records, could name anybody as their user.
    return (head.key.executor, head.key.pool, head.record.user)


_LOST = "what was submitted is gone"


@lru_cache(maxsize=8)
def _lines(array: Array) -> Sequence[str]:
    return contract.unpacked(array) if array.lines is not None else ()


def element(spec: TaskSpec, array: Array, lines: Sequence[str], at: int) -> TaskSpec:
    """Make the spec of the task at a place of an array. Pure."""
    index = contract.index_of(array, at)
    line = lines[at] if array.lines == "text" else None
    changes = {
        "uuid": element_uuid(spec.uuid, at),
        "argv": spec.argv if spec.shell else contract.words(spec.argv, line),
        "env": {**spec.env, **contract.told(array, lines, at)},
        "array": None,
        "element": Element(of=spec.uuid, index=index, throttle=array.throttle),
        "name": f"{spec.name}[{index}]" if spec.name else None,
        "key": None,
    }
    return spec.model_copy(update=changes)
