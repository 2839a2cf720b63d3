"""Draws pictures of every page for the documents: real tasks, a real stack, a real Slurm where there is one.

python -m tests.dashboard.screenshots FOLDER
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, expect, sync_playwright
from tests.dashboard.browsing import CHROMIUM
from tests.dashboard.conftest import PATIENCE, Dashboard
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, SlurmMissing
from tests.slurm.tasks import QUICK

from qme import Queue
from qme.client import Options
from qme.client.task import Task
from qme.errors import NoExecutorMatches
from qme.settings import Settings

_WIDE: ViewportSize = {"width": 1280, "height": 900}
_PHONE: ViewportSize = {"width": 390, "height": 844}
_SCRIPT = """
printf 'epoch 1  loss 0.82\\nepoch 2  loss 0.51\\n\\033[32mepoch 3  loss 0.37  best so far\\033[0m\\n'
printf '\\033[33mwarning: learning rate lowered\\033[0m\\n' >&2
"""

_ELEMENT = (
    'echo "sample $SLURM_ARRAY_TASK_ID of 3 on $SLURMD_NODENAME"; sleep 3; [ $SLURM_ARRAY_TASK_ID != 2 ]'
)


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Give the variables of a Slurm of our own; none where it is not installed."""
    jobs = folder / "jobs"
    jobs.mkdir()
    cluster = Cluster(folder / "slurm", jobs)
    try:
        cluster.up()
    except SlurmMissing:
        yield {}
        return
    try:
        yield {**QUICK, "SLURM_CONF": str(cluster.conf)}
    finally:
        cluster.cancel_all()
        cluster.down()


def sample(queue: Queue) -> dict[str, str]:
    """Run tasks of all kinds, and give the ids of those that have a picture."""
    for number in range(14):
        queue.submit(
            ["sh", "-c", f"sleep 0.{number % 7}; echo part {number}"], Options(labels={"run": "demo"})
        )
    for command in (
        "tar xf missing.tar",
        "python3 -c 'raise ValueError(\"bad input\")'",
        "ls /no/such/folder",
    ):
        queue.submit(command)
    shown = {
        "task-shell": queue.submit(["sh", "-c", _SCRIPT], Options(message="third try", labels={"model": "b"}))
    }
    queue.submit(["sh", "-c", "exit 4; : a step that fails"])
    try:
        for words in (
            "--wrap 'sleep 300'",
            "--hold --wrap hostname",
            f"--array=1-3 --wrap '{_ELEMENT}'",
        ):
            shown["task-slurm"] = queue.submit(f"sbatch {words}")
    except NoExecutorMatches:
        pass
    for task in shown.values():
        task.wait(PATIENCE * 3)
    queue.get(shown["task-shell"].taskid).run_action("status")
    queue.rerun(shown["task-shell"].taskid)
    workflow(queue)
    for _ in range(3):
        queue.submit("sleep 600")
    return {name: task.taskid for name, task in shown.items()}


def workflow(queue: Queue) -> None:
    """Run a group of tasks that wait for each other, on the way."""

    def step(name: str, command: str, *after: Task, whatever: bool = False) -> Task:
        ids = [task.taskid for task in after]
        waits = Options(after_any=ids) if whatever else Options(after=ids)
        return queue.submit(["sh", "-c", command], replace(waits, group="nightly", name=name))

    fetch = step("fetch", "sleep 1; echo 4 samples")
    aligned = [
        step(f"align-{sample}", f"sleep {1 + number}; exit {number // 3}", fetch)
        for number, sample in enumerate("abcd")
    ]
    calls = [step(f"call-{sample}", "sleep 1", task) for sample, task in zip("abcd", aligned, strict=True)]
    step("log", "echo done", *calls, whatever=True).wait(PATIENCE)
    merged = step("merge", "sleep 2", *calls[:3])
    merged.wait(PATIENCE)
    report = step("report", "sleep 600", merged)
    step("publish", "true", report)


def draw(
    browser: Browser, url: str, folder: Path, name: str, dark: bool = False, phone: bool = False
) -> None:
    """Draw one page."""
    context = browser.new_context(
        viewport=_PHONE if phone else _WIDE, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_test_id("stMain").locator("h1").first).to_be_visible()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    page.wait_for_timeout(4000)  # charts and canvases draw when they like, and nobody is told
    for table in page.get_by_test_id("stDataFrame").filter(visible=True).all():
        expect(table.locator("canvas").first).to_be_visible()
    page.screenshot(path=folder / f"{name}.png")
    with Image.open(folder / f"{name}.png") as picture:  # a third of the size, and nobody sees it
        picture.convert("RGB").quantize(256).save(folder / f"{name}.png", optimize=True)
    context.close()


def main(folder: Path) -> None:
    """Draw all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE * 1000)
    with ExitStack() as cleanup:
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        variables = cleanup.enter_context(slurm(scratch))
        os.environ.update(variables)  # the local stack that a client of this process would start
        os.chdir("/tmp")  # where the tasks run, and all that the pictures tell of this machine
        home = scratch / "home"
        home.mkdir()
        stack = Stack(home, {**variables, "QME_HOST": "login1"})
        stack.ok("up", "--detach")
        cleanup.callback(stack.qme, "down", "--cancel")
        empty = Dashboard(stack).ready()
        playwright = cleanup.enter_context(sync_playwright())
        browser = playwright.chromium.launch(**CHROMIUM)
        cleanup.callback(browser.close)
        draw(browser, empty.url, folder, "empty")
        empty.close()
        queue = cleanup.enter_context(Queue(Settings(home=home, host="login1")))
        ids = sample(queue)
        dashboard = Dashboard(stack, "--allow-actions").ready()
        cleanup.callback(dashboard.close)
        for name, path in {
            "overview": "/",
            "tasks": "/tasks",
            "executor": "/shell",
            "workers": "/workers",
            "group": "/groups?name=nightly",
            **{name: f"/{uid.partition('-')[0]}?task={uid}" for name, uid in ids.items()},
        }.items():
            draw(browser, dashboard.url + path, folder, name)
        draw(browser, dashboard.url, folder, "overview-dark", dark=True)
        draw(browser, f"{dashboard.url}/shell?task={ids['task-shell']}", folder, "task-dark", dark=True)
        draw(browser, dashboard.url, folder, "overview-phone", phone=True)
        draw(browser, f"{dashboard.url}/shell?task={ids['task-shell']}", folder, "task-phone", phone=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
