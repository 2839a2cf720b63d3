"""A page stays a page when looks, searches and news come faster than the machine can send. Minutes: `make soak`."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.dashboard.conftest import Dashboard
from tests.integration.stack import Stack

from qme import Queue

pytestmark = pytest.mark.timeout(900)

#: times that somebody searches; without `qme_dashboard.ui.sending` two runs of three went blank, by the 14th
ROUNDS = 60


class _Late(Stack):
    """Starts `qme` so that it comes late."""

    def command(self, *words: str) -> list[str]:
        """The argv of it."""
        return [sys.executable, str(Path(__file__).with_name("starved.py")), *words]


@pytest.fixture
def late(stack: Stack) -> Iterator[Dashboard]:
    """A dashboard whose event loop stands still most of the time, once it is told to."""
    made = Dashboard(_Late(stack.home))
    yield made.ready()
    made.close()


def test_a_page_never_blanks(page: Page, late: Dashboard, queue: Queue) -> None:
    """Whole pages are drawn just before parts of them look again, and sent late: the page is there, each part once."""
    for number in range(27):
        queue.submit(f"echo never-blank {number}")
    page.goto(f"{late.url}/tasks")
    expect(page.locator("[role=gridcell]").first).to_be_attached()
    os.kill(late.pid, signal.SIGUSR1)
    search = page.get_by_role("searchbox", name="Search")
    for number in range(ROUNDS):
        # Parts look again two seconds after the page was drawn.
        page.wait_for_timeout(1500 + 100 * (number % 8))
        search.fill("never-blank" if number % 2 else "echo")
        queue.submit(f"echo never-blank more {number}")
    expect(page.get_by_test_id("stHeading")).to_have_text("Tasks")
    expect(page.get_by_text(re.compile(r"\d+ to \d+ of \d+ tasks"))).to_have_count(1)
