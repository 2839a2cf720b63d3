"""The notifier as a process: hears of ends, keeps its place on disk, tries again what did not arrive.

Each end is told at least once while the process runs or is started again; twice where it is killed in between, which a
reader sees by the news's `id`. Nothing waits for it: tasks know nothing of notifiers.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qme.bus.kv import Bucket, Entry
from qme.bus.port import Message
from qme.client.api import AsyncClient
from qme.client.connect import connect
from qme.client.following import patient
from qme.contracts import subjects
from qme.contracts.tasks import HEADER_OUTCOME, HEADER_PROVISIONAL, TaskRecord
from qme.errors import BusUnavailable, InvalidRequest, QmeError, RecordCorrupt
from qme.notifier import wishes
from qme.notifier.delivery import Undelivered, by_command, by_webhook
from qme.observe.logging import configure, get_logger
from qme.settings import Settings

log = get_logger(__name__)

Way = Callable[[Mapping[str, Any]], Awaitable[None]]

#: pieces of news on their way at a time
TOGETHER = 8
#: tries of one piece of news, and seconds before the second one, doubling up to the longest
TRIES, FIRST_PAUSE, LONGEST_PAUSE = 12, 2.0, 900.0

#: ends that are remembered, so as not to be told twice
REMEMBERED = 10_000
#: seconds between two notes of the place while there is no news
SAVING = 5.0


def run_notifier(settings: Settings) -> None:
    """Tell until SIGINT or SIGTERM. Raises InvalidRequest where there is no way to tell, and what `connect` raises."""
    configure(settings.log_level, settings.log_format)
    ways = _ways(settings)
    if not ways:
        raise InvalidRequest(
            "nobody is told: set notify_command or notify_url first, such as `qme config --set qme notify_command "
            "'mail -s \"$QME_TEXT\" me'`"
        )
    asyncio.run(_run(settings, ways))


def _ways(settings: Settings) -> list[Way]:
    ways: list[Way] = []
    if (line := settings.notify_command) is not None:
        ways.append(lambda told: by_command(line, told))
    if (url := settings.notify_url) is not None:
        ways.append(lambda told: by_webhook(url, told))
    return ways


async def _run(settings: Settings, ways: list[Way]) -> None:
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    assert own is not None  # noqa: S101 - asyncio.run's
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, own.cancel)
    with suppress(asyncio.CancelledError):
        async with connect(settings, name="notifier") as client:
            await Notifier(client, ways, settings.home / f"notifier-{settings.host}.json").run()


class Notifier:
    """Tells one user's news."""

    def __init__(self, client: AsyncClient, ways: list[Way], place: Path) -> None:
        self._client = client
        self._records = Bucket(client.bus, subjects.BUCKET_TASKS, TaskRecord)
        self._ways = ways
        self._place = place
        self._gate = asyncio.Semaphore(TOGETHER)
        #: revision up to which everything was looked at, and what is on its way from before it
        self._seen = 0
        self._under_way: set[int] = set()
        #: ends that were told, or are on their way
        self._told: dict[str, None] = {}
        self._saved = -1
        #: an end could not be read: all from `_seen` on has to be looked at
        self._missed = False

    async def run(self) -> None:
        """Tell until cancelled."""
        async with (
            self._client.bus.follow(subjects.change_filter("*")) as changes,
            asyncio.TaskGroup() as group,
        ):
            await self._begin(group)
            group.create_task(self._keep_place())
            log.info("notifier.runs", user=self._client.user, since=self._seen)
            async for change in patient(changes):
                if change is None or self._missed:
                    await self._catch_up(group)  # what came while the bus was away, or was not heard
                elif HEADER_OUTCOME in change.headers and HEADER_PROVISIONAL not in change.headers:
                    await self._look_at(change, group)
                else:
                    self._seen = max(self._seen, change.seq)

    # -- what there is to tell -----------------------------------------------------------------------------------------
    async def _begin(self, group: asyncio.TaskGroup) -> None:
        """Go on from where it was left; at the very first time from now on."""
        with suppress(OSError, ValueError, KeyError):
            self._seen = int(json.loads(self._place.read_text())["revision"])
        last = (await self._client.bus.state(self._records.stream)).last
        if not 0 < self._seen <= last:  # new here, or another bus
            self._seen = last
        await self._catch_up(group)

    async def _catch_up(self, group: asyncio.TaskGroup) -> None:
        try:
            async for item in self._records.scan(start=self._seen + 1):
                if isinstance(item, Entry):
                    self._consider(item, group)
                self._seen = max(self._seen, item.revision)
            self._missed = False
        except BusUnavailable as error:
            log.warning("notifier.bus_away", error=error.message)

    async def _look_at(self, change: Message, group: asyncio.TaskGroup) -> None:
        try:
            item = await self._records.get(subjects.any_key(change.subject.rpartition(".")[2]))
        except RecordCorrupt:
            item = None  # nobody's news
        except QmeError as error:
            log.warning("notifier.bus_away", error=error.message)
            self._missed = True
            return
        if item is not None:
            self._consider(item, group)
        self._seen = max(self._seen, change.seq)

    def _consider(self, item: Entry[TaskRecord], group: asyncio.TaskGroup) -> None:
        always = self._client.settings.notify_on or ()
        end = wishes.end_of(item.value)
        # A record may be written again after its end, and an event may find a later one than it tells of.
        if end not in self._told and wishes.wanted(item.value, self._client.user, always):
            self._told[end] = None
            if len(self._told) > REMEMBERED:
                del self._told[next(iter(self._told))]
            self._under_way.add(item.revision)
            group.create_task(self._tell(item))

    # -- telling -------------------------------------------------------------------------------------------------------
    async def _tell(self, item: Entry[TaskRecord]) -> None:
        told = wishes.news(item.value)
        async with self._gate:
            await asyncio.gather(*(self._surely(way, told) for way in self._ways))
        self._under_way.discard(item.revision)
        self._save()

    async def _surely(self, way: Way, told: Mapping[str, Any]) -> None:
        pause = FIRST_PAUSE
        for left in range(TRIES - 1, -1, -1):
            try:
                await way(told)
                return
            except Undelivered as error:
                log.warning("notifier.not_arrived", news=told["id"], error=error.message, tries_left=left)
            if left:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    # -- where it stands -----------------------------------------------------------------------------------------------
    async def _keep_place(self) -> None:
        while True:
            await asyncio.sleep(SAVING)
            self._save()

    def _save(self) -> None:
        """Write down from where the next process has to look: before the oldest that has not arrived."""
        revision = min(self._under_way, default=self._seen + 1) - 1
        if revision == self._saved:
            return
        draft = self._place.with_suffix(".new")
        try:
            draft.write_text(json.dumps({"revision": revision}))
            draft.replace(self._place)
            self._saved = revision
        except OSError as error:
            log.warning("notifier.place_not_saved", error=str(error))
