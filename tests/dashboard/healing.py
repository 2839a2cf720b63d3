"""What happens to a bus and a dashboard in front of a browser that goes on looking, and how long the screen takes.

Used by a test, and by the benchmark that prints the seconds.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uuid_utils
from playwright.sync_api import Locator, Page
from tests.dashboard.conftest import PATIENCE, Dashboard
from tests.integration.stack import Stack

from qme.bus.connect import connect
from qme.bus.kv import Bucket
from qme.bus.port import Archive, Bus
from qme.bus.topology import streams
from qme.contracts import subjects
from qme.contracts.tasks import Outcome, Status, TaskRecord, event_headers
from qme.settings import Settings
from qme.testing.nats import NatsServer


class Site:
    """A NATS server of its own with the streams of a site and no services, and a dashboard on it."""

    def __init__(self, folder: Path) -> None:
        self._server = NatsServer(folder / "nats")
        self._server.start()
        self._settings = Settings(home=folder, nats_url=self._server.url, nats_creds=self._server.creds)
        env = {"QME_NATS_URL": self._server.url, "QME_NATS_CREDS": str(self._server.creds)}
        self._stack = Stack(folder, env)
        self._bus(lambda bus: bus.ensure(streams(self._settings)))
        self.dashboard = Dashboard(self._stack).ready()

    def close(self) -> None:
        """End all of it."""
        self.dashboard.close()
        self._server.stop()

    def put(self, command: str) -> None:
        """Leave the record of a task that ended."""
        now = datetime.now(UTC)
        record = TaskRecord(
            uid=f"shell-{uuid_utils.uuid7()}", executor="shell", pool="default", command=command, user="ann",
            status=Status.COMPLETE, outcome=Outcome.SUCCESS, created=now, started=now, finished=now,
        )  # fmt: skip
        headers = event_headers(record, "test")
        self._bus(lambda bus: _records(bus).create(str(record.key), record, headers=headers))

    def server_ends(self) -> None:
        """Stop NATS."""
        self._server.stop()

    def server_starts(self) -> None:
        """Start it again, with what it had."""
        self._server.start()

    def bucket_goes(self) -> None:
        """Take the bucket of records away."""

        async def remove(bus: Bus) -> None:
            assert isinstance(bus, Archive)
            await bus.remove_stream(subjects.bucket_stream(subjects.BUCKET_TASKS))

        self._bus(remove)

    def bucket_comes(self) -> None:
        """Make it anew, as submitters do."""
        self._bus(lambda bus: bus.ensure(streams(self._settings)))

    def dashboard_starts(self) -> None:
        """Start another dashboard in the place of one that ended."""
        self.dashboard = Dashboard(self._stack, "--port", self.dashboard.url.rpartition(":")[2])

    def _bus(self, act: Callable[[Bus], Coroutine[Any, Any, Any]]) -> None:
        async def done() -> None:
            bus = await connect(self._settings, name="test")
            try:
                await act(bus)
            finally:
                await bus.close()

        with ThreadPoolExecutor(1) as elsewhere:  # the browser's thread has an event loop of its own
            elsewhere.submit(asyncio.run, done()).result(PATIENCE)


def _records(bus: Bus) -> Bucket[TaskRecord]:
    return Bucket(bus, subjects.BUCKET_TASKS, TaskRecord)


def walk(site: Site, page: Page) -> dict[str, float]:
    """Let everything happen, and give the seconds after which the screen was right again."""
    taken: dict[str, float] = {}

    def cell(text: str) -> Locator:
        return page.locator("[role=gridcell]").filter(has_text=re.compile(re.escape(text))).first

    def until(what: str, begin: float, *shown: str) -> None:
        for text in shown:
            cell(text).wait_for(state="attached")
        warning.wait_for(state="hidden")
        taken[what] = time.monotonic() - begin

    warning = page.get_by_text("This may be old")
    site.put("before-all")
    page.goto(f"{site.dashboard.url}/tasks")
    cell("before-all").wait_for(state="attached")

    site.server_ends()
    begin = time.monotonic()
    warning.wait_for()
    taken["NATS ended: the screen says so"] = time.monotonic() - begin
    cell("before-all").wait_for(state="attached")
    site.server_starts()
    begin = time.monotonic()
    site.put("after-restart")
    until("NATS is back: a task that came then is shown", begin, "before-all", "after-restart")

    site.bucket_goes()
    site.bucket_comes()
    begin = time.monotonic()
    site.put("in-the-new-bucket")
    until("the bucket was made anew: its task is shown", begin, "in-the-new-bucket")
    cell("before-all").wait_for(state="detached")
    taken["the bucket was made anew: the old tasks are gone"] = time.monotonic() - begin

    site.dashboard.close()
    begin = time.monotonic()
    page.get_by_text(
        re.compile("Connection error|Connecting|Is Streamlit still running", re.IGNORECASE)
    ).first.wait_for()
    taken["the dashboard ended: the screen says so"] = time.monotonic() - begin
    site.put("while-it-was-away")
    site.dashboard_starts()
    begin = time.monotonic()
    until("the dashboard is back: a task that came meanwhile is shown", begin, "while-it-was-away")
    site.dashboard.ready()
    return taken
