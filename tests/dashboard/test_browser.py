"""The pages in a real browser, on a real bus: what people look at and click."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.dashboard.conftest import Dashboard

from qme import Queue
from qme.client import Options

#: pixels of a table: its head, a row, and where the box to tick and the button with the id are
_HEAD, _ROW, _BOX, _ID = 35, 34, 16, 75

pytestmark = pytest.mark.timeout(600)


def cell(page: Page, text: str) -> Locator:
    """A cell of the table of tasks."""
    return page.locator("[role=gridcell]").filter(has_text=re.compile(re.escape(text))).first


def click(page: Page, row: int, x: int) -> None:
    """Click into the table of tasks: it is drawn on a canvas."""
    table = page.get_by_test_id("stDataFrame").last
    table.scroll_into_view_if_needed()
    table.click(position={"x": x, "y": _HEAD + _ROW * row + _ROW // 2})


def button(page: Page, name: str) -> Locator:
    """A button by its words."""
    return page.get_by_role("button", name=re.compile(f"{name}$"))


def test_a_task_appears_live_and_its_id_leads_to_it(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """Submitted while somebody looks, it comes up by itself; one click shows what it wrote."""
    page.goto(f"{dashboard.url}/tasks?q=appears-live")
    expect(page.get_by_text("No task fits these filters")).to_be_visible()
    task = queue.submit("echo appears-live and says so").wait()
    expect(cell(page, "appears-live")).to_be_attached()
    expect(cell(page, "success")).to_be_attached()
    click(page, 0, _ID)
    expect(page).to_have_url(f"{dashboard.url}/shell?task={task.taskid}")
    expect(page.locator("pre", has_text="appears-live and says so").last).to_be_visible()


def test_a_tile_leads_to_its_tasks(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """The number of failures is a link to the failures, and that address can be passed on."""
    queue.run("sh -c 'echo broken-tile >&2; exit 7'")
    page.goto(dashboard.url)
    page.locator(".st-key-tile-failure").get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"/tasks\?.*state=failure"))
    expect(cell(page, "broken-tile")).to_be_attached()
    expect(cell(page, "success")).to_have_count(0)


def test_back_leads_to_the_filtered_table(page: Page, reading: Dashboard, queue: Queue) -> None:
    """From a task both the browser's Back and the page's link lead to the tasks that it was found among."""
    tasks = [queue.submit(f"echo comes-back {number}") for number in range(2)]
    for task in tasks:
        task.wait()
    page.goto(f"{reading.url}/tasks")
    page.get_by_role("searchbox", name="Search").fill("comes-back")
    filtered = re.compile(r"/tasks\?q=comes-back$")
    for way in (page.go_back, page.get_by_role("link", name="Back to these tasks").click):
        expect(page.get_by_text("1 to 2 of 2 tasks")).to_be_visible()
        expect(page).to_have_url(filtered)
        click(page, 0, _ID)
        expect(page).to_have_url(re.compile(r"/shell\?task="))
        expect(page.locator(".st-key-log pre").first).to_contain_text("comes-back")
        way()
    expect(page.get_by_text("1 to 2 of 2 tasks")).to_be_visible()
    expect(page).to_have_url(filtered)


def test_a_page_stays_whole_while_somebody_searches(page: Page, reading: Dashboard, queue: Queue) -> None:
    """Letters, states and pages change while tasks arrive and the page looks by itself: it is there, each part once."""
    for number in range(26):
        queue.submit(f"echo stays-whole {number}")
    page.goto(f"{reading.url}/tasks")
    search, states = page.get_by_role("searchbox", name="Search"), page.locator(".st-key-state input")
    for number in range(2):
        search.press_sequentially("stays-whole", delay=30)
        queue.submit(f"echo stays-whole later {number}")
        page.get_by_test_id("stPagination").get_by_role("button", name="2").click()
        states.fill("success")
        states.press("Enter")
        states.press("Escape")
        expect(page).to_have_url(re.compile(r"state=success"))
        states.press("Backspace")
        states.press("Escape")
        expect(page).not_to_have_url(re.compile(r"state="))
        search.fill("")
        expect(page).not_to_have_url(re.compile(r"q="))
    expect(page.get_by_test_id("stHeading")).to_have_text("Tasks")
    expect(page.get_by_text(re.compile(r"\d+ to \d+ of \d+ tasks"))).to_have_count(1)


def test_the_ticked_task_is_rerun_while_others_arrive(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """A row is ticked, new tasks take its place: the one that was ticked gets another attempt, and no other."""
    labelled = Options(labels={"kind": "moving"})
    wanted = queue.submit(["sh", "-c", "exit 5; : moving-target"], labelled).wait().taskid
    page.goto(f"{dashboard.url}/tasks?q=moving-target")
    expect(cell(page, "moving-target")).to_be_attached()
    click(page, 0, _BOX)
    expect(page.get_by_text("1 task selected")).to_be_visible()
    others = [queue.submit(["sh", "-c", "exit 5; : moving-target"], labelled).wait().taskid for _ in range(2)]
    expect(page.get_by_text("1 to 3 of 3 tasks")).to_be_visible()
    button(page, "Rerun").click()
    expect(page.get_by_role("dialog").locator("[role=gridcell]", has_text=wanted)).to_be_attached()
    button(page, "Rerun 1 task").click()
    expect(page.get_by_text("1 task changed")).to_be_visible()
    expect(page.get_by_text("1 task selected")).to_have_count(0)
    dashboard.shows(wanted, attempt=2, outcome="failed")
    assert {row["uid"]: row["attempt"] for row in dashboard.tasks("?label=kind=moving")} == {
        wanted: 2, **dict.fromkeys(others, 1),
    }  # fmt: skip


def test_a_running_task_is_followed_and_cancelled(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """Its output comes as it is written; the button asks first, and the page shows how it ended."""
    task = queue.submit(["sh", "-c", "echo first-line; sleep 4; echo second-line; sleep 300"])
    page.goto(f"{dashboard.url}/shell?task={task.taskid}")
    log = page.locator(".st-key-log pre").first
    expect(log).to_contain_text("first-line")
    expect(log).to_contain_text("second-line")
    button(page, "Cancel").click()
    button(page, "Cancel 1 task").click()
    expect(page.get_by_text("cancelled", exact=True).first).to_be_visible()
    assert dashboard.shows(task.taskid, outcome="cancelled")["attempt"] == 1


def test_where_nothing_may_be_changed_nothing_can_be_clicked(
    page: Page, reading: Dashboard, queue: Queue
) -> None:
    """Buttons are off and the page says how to change that."""
    task = queue.run("echo only-shown")
    page.goto(f"{reading.url}/shell?task={task.taskid}")
    expect(button(page, "Rerun")).to_be_disabled()
    expect(button(page, "Delete")).to_be_disabled()
    expect(page.get_by_text("This dashboard only shows")).to_be_visible()
    expect(button(page, "Run edited")).to_have_count(0)


def test_hostile_output_does_nothing(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """Scripts, images, links and escape sequences in name and output are shown as what they are."""
    hostile = (
        "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>![i](http://evil.example/y)"
    )
    words = [
        "printf",
        r"\033[31mcolour\033[0m \033]8;;http://evil.example\033\\link\033]8;;\033\\ %s\n",
        hostile,
    ]
    task = queue.submit(words, Options(message=hostile, labels={"kind": "hostile"})).wait()
    page.goto(f"{dashboard.url}/shell?task={task.taskid}")
    log = page.locator(".st-key-log pre")
    expect(log).to_contain_text(f"colour link {hostile}")
    expect(log.locator("span", has_text="colour")).to_have_attribute("style", re.compile("color"))
    page.get_by_label("Find").fill("<script>")
    expect(log.locator("mark")).to_have_text("<script>")
    expect(page.get_by_text("1 of 1", exact=True)).to_be_visible()
    assert page.locator("[src*='evil'], [href*='evil']").count() == 0
    page.goto(f"{dashboard.url}/tasks?q=evil.example")
    expect(cell(page, "evil.example")).to_be_attached()
    assert page.locator("[src*='evil'], a[href*='evil']").count() == 0


def test_a_part_of_an_id_leads_to_the_task(page: Page, dashboard: Dashboard, queue: Queue) -> None:
    """The original's address of a task, with the digits that tables show, opens its page."""
    task = queue.run("echo deep-link")
    page.goto(f"{dashboard.url}/executor/{task.taskid[-8:]}")
    expect(page).to_have_url(f"{dashboard.url}/shell?task={task.taskid}")
    expect(page.locator(".st-key-log pre")).to_contain_text("deep-link")
