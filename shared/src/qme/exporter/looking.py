"""How things stand now, asked of the bus again and again: workers, streams, the janitor, whether a submitter answers.

What can't be seen is not guessed: a look that fails leaves no standing, and the page shows none.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uuid_utils

from qme.bus import kv
from qme.bus.port import Bus, StreamState
from qme.client import executors
from qme.client.executors import Known
from qme.client.mirroring import Mirroring
from qme.contracts import rights, subjects
from qme.contracts.messages import MatchRequest
from qme.contracts.tasks import Status
from qme.errors import BusUnavailable, NotFound, QmeError
from qme.exporter.backlog import Backlog, Place
from qme.exporter.counting import Counting
from qme.observe.logging import get_logger

log = get_logger(__name__)

_RECORDS = subjects.bucket_stream(subjects.BUCKET_TASKS)
#: seconds that a submitter has to answer
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One look."""

    at: float  #: seconds since the epoch
    executors: tuple[Known, ...]
    streams: dict[str, StreamState]
    janitor: float  #: when it was last heard of, in seconds since the epoch; 0: not since we look
    answer: float | None  #: seconds that a submitter took; None: none answered
    #: tasks that have not ended, by place and status, and since when the oldest waits; None: not known
    tasks: dict[tuple[Place, Status], int] | None
    oldest: dict[Place, float]

    @property
    def places(self) -> set[Place]:
        """Executors and pools that there are."""
        return {(known.definition.executor, known.definition.pool) for known in self.executors}


@dataclass
class Looking:
    """Looks again and again; `run` and `mirror` do so until cancelled, and survive any loss of the bus."""

    bus: Bus
    interval: float
    counting: Counting
    standing: Standing | None = None
    _backlog: Backlog = field(default_factory=Backlog)
    _janitor: float = 0.0

    async def run(self) -> None:
        """Look every `interval` seconds."""
        while True:
            counted = self.counting.totals.seen.top
            try:
                self.standing = await self._look()
                last = self.standing.streams[_RECORDS].last
                if last < counted:
                    log.warning("exporter.bus_was_set_back", counted=counted, last=last)
                    self.counting.set_back(last)
                self.counting.know(self.standing.places)
            except (BusUnavailable, NotFound) as error:
                log.warning("exporter.sees_nothing", error=error.message)
            await asyncio.sleep(self.interval)

    async def mirror(self) -> None:
        """Keep the copy of the tasks that have not ended."""
        async for batch in Mirroring(self.bus).batches():
            self._backlog.apply(batch)
            await asyncio.sleep(0)  # a long reading must not keep others waiting

    async def _look(self) -> Standing:
        answer = await self._answer()
        known = await executors.known(self.bus)
        states = {name: await self.bus.state(name) for name in rights.STREAMS}
        leader = subjects.bucket_subject(subjects.BUCKET_CONTROL, subjects.LEADER_KEY)
        lease = await self.bus.last(rights.CONTROL, leader, leader=True)
        if lease is not None and lease.time is not None and not kv.deleted(lease):
            self._janitor = lease.time.timestamp()
        tasks, oldest = None, {}
        if self._backlog.loaded and self._backlog.trouble is None:
            tasks, oldest = dict(self._backlog.numbers()), self._backlog.oldest()
        return Standing(time.time(), tuple(known), states, self._janitor, answer, tasks, oldest)

    async def _answer(self) -> float | None:
        """Ask a submitter what changes nothing, and tell how long that took."""
        begun = time.monotonic()
        expires = datetime.now(UTC) + timedelta(seconds=PATIENCE)
        request = MatchRequest(id=str(uuid_utils.uuid7()), expires=expires, argv=("true",))
        where = subjects.api_subject(self.bus.user, "match")
        try:
            await self.bus.request(where, request.model_dump_json().encode(), timeout=PATIENCE)
        except (BusUnavailable, NotFound):
            return None
        except QmeError as error:
            log.debug("exporter.refused", error=error.message)  # which is an answer
        return time.monotonic() - begun


def by_place(
    found: Iterable[Known], label: Callable[[str, str], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Known]]:
    """Put the executors together that have the same labels."""
    together: dict[tuple[str, ...], list[Known]] = defaultdict(list)
    for known in found:
        together[label(known.definition.executor, known.definition.pool)].append(known)
    return together
