"""Takes an ended task off the bus: its record, its output, a message left over, its spec. Who may, and when, is decided
by whoever calls this.

The record's marker decides, at the revision that was judged; all that follows may be repeated after any break. What a
break leaves for good, a spec without a record, is found by `orphans`.
"""

from __future__ import annotations

from dataclasses import dataclass

from qme.bus.kv import Corrupt, Entry
from qme.contracts import subjects
from qme.contracts.subjects import TaskKey, log_filter
from qme.contracts.tasks import TaskSpec
from qme.errors import Conflict
from qme.observe.logging import get_logger
from qme_submitter.buckets import Buckets

log = get_logger(__name__)

#: seconds that the marker of a removed task stays, so that a delayed repetition does not make it anew
MARKER = 3600.0

SpecSeen = Entry[TaskSpec] | Corrupt


@dataclass
class Removal:
    """Removes tasks; several may run side by side."""

    buckets: Buckets
    #: seconds that a worker may keep files of a removed task, during which a key must not come to mean a new one
    spool_keep: float = 7 * 86_400.0

    async def decide(self, key: TaskKey, revision: int) -> None:
        """Remove the record as it stood at a revision. Raises Conflict."""
        await self.buckets.records.delete(str(key), revision, keep_marker=MARKER)

    async def follow_up(self, key: TaskKey, spec: SpecSeen | None, *, has_output: bool = True) -> None:
        """Remove the rest of a task whose record is gone. The spec goes last, as it tells whose it was."""
        if has_output:
            await self.buckets.bus.purge(subjects.LOGS, log_filter(key.uuid))
        await self.buckets.dequeue(key)
        if spec is not None:
            await self._drop_spec(spec)

    async def _drop_spec(self, spec: SpecSeen) -> None:
        # A marker, not a purge: it refuses a repeated submission, which would otherwise make the task anew.
        keyed = isinstance(spec, Entry) and spec.value.key is not None
        keep = max(MARKER, self.spool_keep) if keyed else MARKER
        try:
            await self.buckets.specs.delete(spec.key, spec.revision, keep_marker=keep)
        except Conflict:
            log.debug("removal.spec_gone_already", key=spec.key)
