"""Reading in a real browser: finding places in output, following it, and a group of tasks as it goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect
from tests.dashboard.conftest import Dashboard

from qme import Queue
from qme.client import Options

pytestmark = pytest.mark.timeout(600)


def box(part: Locator) -> FloatRect:
    """Where something stands."""
    found = part.bounding_box()
    assert found is not None
    return found


def test_places_in_both_streams_are_counted_and_gone_through(
    page: Page, dashboard: Dashboard, queue: Queue
) -> None:
    """They stand side by side; the search goes from place to place and scrolls there; all of it can be downloaded."""
    script = r"seq 1 3000; printf 'a \033[1mNeed\033[0mle\n'; seq 1 500; echo needle here; echo no needle >&2"
    task = queue.submit(["sh", "-c", script]).wait()
    page.goto(f"{dashboard.url}/shell?task={task.taskid}")
    out, err = page.locator(".st-key-log .pane").nth(0), page.locator(".st-key-log .pane").nth(1)
    expect(err.locator("pre")).to_have_text("no needle\n")
    left, right = box(out), box(err)
    assert abs(left["y"] - right["y"]) < 2
    assert left["x"] + left["width"] <= right["x"]
    page.get_by_label("Find").fill("needle")
    expect(page.get_by_text("1 of 3", exact=True)).to_be_visible()
    expect(page.locator("mark.now")).to_have_text(["Need", "le"])
    expect(page.locator("mark.now").first).to_be_in_viewport()
    page.get_by_label("Find").press("Enter")
    expect(page.get_by_text("2 of 3", exact=True)).to_be_visible()
    expect(page.locator("mark.now")).to_be_in_viewport()
    page.get_by_label("Previous match").click()
    page.get_by_label("Previous match").click()
    expect(page.get_by_text("3 of 3", exact=True)).to_be_visible()
    expect(err.locator("mark.now")).to_have_text("needle")
    with page.expect_download() as download:
        out.get_by_text("Download").click()
    assert download.value.path().read_bytes().count(b"\n") == 3502


def test_on_a_phone_the_streams_stand_under_each_other(
    page: Page, dashboard: Dashboard, queue: Queue
) -> None:
    """Nothing is cut off at the side."""
    page.set_viewport_size({"width": 390, "height": 844})
    task = queue.submit(["sh", "-c", f"echo {'x' * 300}; echo oh >&2"]).wait()
    page.goto(f"{dashboard.url}/shell?task={task.taskid}")
    panes = page.locator(".st-key-log .pane")
    expect(panes).to_have_count(2)
    first, second = box(panes.nth(0)), box(panes.nth(1))
    assert first["y"] + first["height"] <= second["y"]
    assert first["x"] + first["width"] <= 390


def test_a_groups_graph_has_the_colours_of_now(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """What waits is drawn behind what it waits for, and both change while somebody looks; a click opens the task."""
    first = queue.submit(["sh", "-c", "sleep 3; exit 1"], Options(group="drawn", name="first"))
    queue.submit("echo second", Options(group="drawn", name="second", after=[first.taskid]))
    queue.submit("echo third", Options(group="drawn", name="third", after_any=[first.taskid]))
    page.goto(f"{dashboard.url}/groups?name=drawn")
    drawn = page.locator(".graph a")
    expect(drawn).to_have_count(3)
    expect(drawn.filter(has_text="first")).to_contain_text("failed")
    expect(drawn.filter(has_text="second")).to_contain_text("cancelled")
    expect(drawn.filter(has_text="third")).to_contain_text("success")
    expect(page.get_by_text("3 of 3 tasks ended")).to_be_visible()
    expect(page.locator(".graph path.edge")).to_have_count(2)
    drawn.filter(has_text="first").click()
    expect(page).to_have_url(f"{dashboard.url}/shell?task={first.taskid}")
    page.get_by_role("link", name="@drawn").click()
    expect(page).to_have_url(re.compile(r"/groups\?name=drawn"))
