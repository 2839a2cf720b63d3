"""The pages of Slurm tasks in a real browser, with jobs of a real Slurm: what stands and can be done there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.dashboard.conftest import Dashboard
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, SlurmMissing
from tests.slurm.tasks import QUICK

from qme import Queue
from qme.contracts.elements import unpack
from qme.settings import Settings

pytestmark = pytest.mark.timeout(600)


class Site(NamedTuple):
    """A dashboard and a client of one stack, whose host has a Slurm; and the folder where its jobs write."""

    dashboard: Dashboard
    queue: Queue
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack of its own: where sbatch is installed, a stack has a worker for it from its beginning."""
    folder = tmp_path_factory.mktemp("work")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"), folder)
    try:
        cluster.up()
    except SlurmMissing as missing:
        pytest.skip(str(missing))
    with ExitStack() as cleanup:
        cleanup.callback(cluster.down)
        stack = Stack(tmp_path_factory.mktemp("home"), {**QUICK, "SLURM_CONF": str(cluster.conf)})
        stack.ok("up", "--detach")
        cleanup.callback(stack.qme, "down", "--cancel")
        dashboard = Dashboard(stack, "--allow-actions").ready()
        cleanup.callback(dashboard.close)
        queue = cleanup.enter_context(Queue(Settings(home=stack.home)))
        yield Site(dashboard, queue, folder)
        cluster.cancel_all()


def fact(page: Page, name: str) -> Locator:
    """What stands beside a name in the list of facts."""
    return page.get_by_role("row", name=re.compile(f"^{name} ")).get_by_role("cell").last


def states(page: Page) -> Locator:
    """The timeline of Slurm's states."""
    return page.get_by_test_id("stHtml").filter(has_text="States in slurm")


def button(page: Page, name: str) -> Locator:
    """A button by its words."""
    return page.get_by_role("button", name=re.compile(f"{name}$"))


def test_a_held_job_is_released_and_followed_to_its_end(page: Page, site: Site) -> None:
    """Job, partition, reason, sbatch line and files stand there; Release lets it run; its states are told in order."""
    task = site.queue.submit(
        f"sbatch --hold -o {site.folder}/%j.out --wrap 'echo begun; sleep 2; echo on $SLURMD_NODENAME'"
    )
    page.goto(f"{site.dashboard.url}/slurm?task={task.taskid}")
    expect(page.get_by_text(re.compile(r"\bjob \d+$")).first).to_be_visible()
    expect(page.get_by_text("JobHeldUser", exact=True).first).to_be_visible()
    job = site.queue.get(task.taskid).record.data["jobid"]
    expect(page.get_by_test_id("stCode").first).to_contain_text("sbatch --hold")
    expect(fact(page, "Partition")).to_have_text("main")
    expect(fact(page, "Output file")).to_have_text(f"{site.folder}/{job}.out")
    expect(states(page)).to_contain_text("PENDING (JobHeldUser)")
    button(page, "Release").click()
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(f"release: job {job}")
    page.keyboard.press("Escape")
    expect(page.locator(".st-key-log pre")).to_contain_text("begun")
    expect(page.locator(".st-key-log pre")).to_contain_text(re.compile("on n[12]"))
    expect(states(page)).to_contain_text(
        re.compile(r"PENDING \(JobHeldUser\).*RUNNING.*COMPLETED", re.DOTALL)
    )
    expect(fact(page, "Nodes")).to_have_text(re.compile("n[12]"))
    button(page, "Status").click()
    expect(page.get_by_role("dialog")).to_contain_text(job)


def test_the_elements_of_an_array_stand_there_with_their_output(page: Page, site: Site) -> None:
    """One fails and shows what it wrote, one that runs is ended from the page, and the last one with the task."""
    script = "echo element $SLURM_ARRAY_TASK_ID; [ $SLURM_ARRAY_TASK_ID != 1 ] || exit 3; sleep 300"
    task = site.queue.submit(f"sbatch --array=1-3 -o {site.folder}/a-%a.out --wrap '{script}'")
    page.goto(f"{site.dashboard.url}/slurm?task={task.taskid}")
    expect(page.get_by_text("3 elements", exact=True)).to_be_visible()
    expect(page.get_by_text("1 failed", exact=True)).to_be_visible()
    log = page.locator(".st-key-element-log")
    expect(log.locator("pre")).to_contain_text("element 1")
    expect(log).to_contain_text(f"{site.folder}/a-1.out")
    choose(page, "2")
    expect(log.locator("pre")).to_contain_text("element 2")
    button(page, "Cancel element 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("asked Slurm to end 1 of its elements")
    page.keyboard.press("Escape")
    expect(page.get_by_text("1 cancelled", exact=True)).to_be_visible()
    expect(page.get_by_text("1 running", exact=True)).to_be_visible()
    button(page, "Cancel").first.click()
    button(page, "Cancel 1 task").click()
    expect(page.get_by_text("2 cancelled", exact=True)).to_be_visible()
    site.dashboard.shows(task.taskid, status="complete")
    array = unpack(site.queue.get(task.taskid).record.data["array"])
    assert {one.name: one.outcome for one in array} == {"1": "failed", "2": "cancelled", "3": "cancelled"}


def choose(page: Page, element: str) -> None:
    """Choose the element whose output is shown."""
    page.get_by_role("combobox", name=re.compile("Output of element")).click()
    page.get_by_role("option", name=element, exact=True).click()
