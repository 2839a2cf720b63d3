"""The dashboard with many tasks on a real bus, in a real browser: python benchmarks/dashboard_live.py [TASKS].

Prints how long people wait, and what the dashboard's process takes of a processor and of memory. Judges nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.dashboard.browsing import CHROMIUM
from tests.dashboard.conftest import PATIENCE, Dashboard
from tests.dashboard.healing import Site, walk
from tests.integration.stack import Stack

from benchmarks import dashboard_records
from qme import Queue
from qme.contracts.tasks import TaskRecord
from qme.settings import Settings

#: tries of each wait; the median is printed
TRIES = 5
#: seconds that the costs of a processor are taken over, after so many of quiet
TAKEN, QUIET = 30.0, 8.0
#: changes a second of a bus with something to do
RATE = 20.0
_SHOWN = re.compile(r"^[\d,]+ to [\d,]+ of [\d,]+ tasks?\b")


def said(what: str, value: str) -> None:
    """Print a row."""
    print(f"{what:58}{value:>14}", flush=True)


class Watched:
    """A dashboard whose process is measured."""

    def __init__(self, stack: Stack) -> None:
        begin = time.perf_counter()
        self.dashboard = Dashboard(stack).ready()
        self.started = time.perf_counter() - begin
        self.process = psutil.Process(self.dashboard.pid)

    def memory(self) -> str:
        """Give what it holds of memory."""
        return f"{self.process.memory_info().rss >> 20} MiB"

    def share(self) -> str:
        """Give what it takes of one processor from now on."""
        time.sleep(QUIET)
        before, begin = self._seconds(), time.perf_counter()
        time.sleep(TAKEN)
        return f"{(self._seconds() - before) / (time.perf_counter() - begin):.1%}"

    def _seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def tab(browser: Browser) -> Iterator[Page]:
    """A new visitor, whose browser has nothing of ours yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    context.close()


def timed(what: str, act: Callable[[int], None], before: Callable[[], None] = lambda: None) -> None:
    """Print the median of some tries."""
    taken = []
    for number in range(TRIES):
        before()
        begin = time.perf_counter()
        act(number)
        taken.append(time.perf_counter() - begin)
    said(what, f"{statistics.median(taken):.2f} s")


def waits(browser: Browser, url: str) -> None:
    """Print how long a person waits for what."""

    def first_rows(_: int) -> None:
        with tab(browser) as page:
            page.goto(f"{url}/tasks", wait_until="commit")
            page.locator("[role=gridcell]").first.wait_for(state="attached")

    def first_tiles(_: int) -> None:
        with tab(browser) as page:
            page.goto(url, wait_until="commit")
            page.get_by_test_id("stMetricValue").first.wait_for()

    timed("first rows in a browser that was never here", first_rows)
    timed("first tiles of the overview, the same", first_tiles)
    with tab(browser) as page:
        _filters(page, url)


def _filters(page: Page, url: str) -> None:
    search, label = page.get_by_role("searchbox", name="Search"), page.get_by_role("textbox", name="Label")
    shown = page.get_by_text(_SHOWN)

    def counted(rows: str) -> None:
        expect(shown).to_have_text(re.compile(rf"^{rows} of "))

    def all_again() -> None:
        page.goto(f"{url}/tasks")
        counted("1 to 25")
        whole[:] = [shown.inner_text()]

    whole = [""]

    def fewer() -> None:
        expect(shown).not_to_have_text(whole[0])

    def by_search(number: int) -> None:
        search.fill(rf"data/{number + 1}\d\.fits$")
        fewer()

    def by_label(number: int) -> None:
        label.fill(f"run=r{number}")
        label.press("Enter")
        fewer()

    def by_state(_: int) -> None:
        page.get_by_role("combobox", name="State").click()
        page.get_by_role("option", name="failure").click()
        fewer()

    def next_page(number: int) -> None:
        page.get_by_role("button", name="Next page").click()
        counted(f"{25 * (number + 1) + 1:,} to {25 * (number + 2):,}")

    timed("a regular expression", by_search, all_again)
    timed("a label", by_label, all_again)
    timed("a state, picked from the list", by_state, all_again)
    all_again()
    timed("the next page", next_page)


def costs(browser: Browser, watched: Watched, settings: Settings, like: TaskRecord) -> None:
    """Print what it takes of a processor."""
    url = watched.dashboard.url
    for changing in (False, True):
        stop = asyncio.Event()
        rate = f"{RATE:.0f} changes a second" if changing else "nothing changes"
        with ExitStack() as cleanup:
            if changing:
                cleanup.enter_context(_churn(settings, like))
            said(f"share of a processor, {rate}, nobody looks", watched.share())
            for name, path in {"overview": "/", "tasks": "/tasks", "an executor": "/shell"}.items():
                with tab(browser) as page:
                    page.goto(url + path)
                    said(f"share of a processor, {rate}, {name}", watched.share())
        stop.set()


@contextmanager
def _churn(settings: Settings, like: TaskRecord) -> Iterator[None]:
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(dashboard_records.churn(settings, like, RATE, stop))
    )
    thread.start()
    yield
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def heals(folder: Path) -> None:
    """Print how long an open page takes to be right again after a failure."""
    site = Site(folder)
    try:
        with (
            sync_playwright() as playwright,
            playwright.chromium.launch(**CHROMIUM) as browser,
            tab(browser) as page,
        ):
            for what, seconds in walk(site, page).items():
                said(what, f"{seconds:.1f} s")
    finally:
        site.close()


def main(tasks: int) -> None:
    """Print the table."""
    expect.set_options(timeout=PATIENCE * 1000)
    said(
        "load of the machine before this, and its processors", f"{os.getloadavg()[0]:.1f} of {os.cpu_count()}"
    )
    with ExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        stack, settings = Stack(home), Settings(home=home)
        stack.ok("up", "--detach")
        cleanup.callback(stack.qme, "down", "--cancel")
        with Queue(settings) as queue:
            like = queue.run("echo hello").record
        written = 1
        for many in (tasks // 10, tasks):
            asyncio.run(dashboard_records.seed(settings, like, range(written, many)))
            written = many
            watched = Watched(stack)
            said(f"{many:,} tasks: from the command to all of them read", f"{watched.started:.1f} s")
            said(f"{many:,} tasks: memory, before anybody looked", watched.memory())
            with sync_playwright() as playwright, playwright.chromium.launch(**CHROMIUM) as browser:
                waits(browser, watched.dashboard.url)
                if many == tasks:
                    costs(browser, watched, settings, like)
            said(f"{many:,} tasks: memory, at the end", watched.memory())
            watched.dashboard.close()
        heals(home / "healing")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
