"""The HTTP interface of a dashboard on a real bus."""

from __future__ import annotations

import os
import signal

import pytest
from tests.dashboard.conftest import Dashboard, until
from tests.integration.stack import Stack

from qme import Queue
from qme.client import Options
from qme.local.layout import Layout, read_state

pytestmark = pytest.mark.timeout(600)


def test_a_task_can_be_read_in_every_way(queue: Queue, dashboard: Dashboard) -> None:
    """List, one, one executor's, its output as a file, its trail."""
    words = ["sh", "-c", "echo out; echo err >&2"]
    uid = queue.submit(words, Options(labels={"kind": "ways"})).wait().taskid
    row = dashboard.shows(uid, outcome="success")
    assert (row["command"], row["returncode"], row["labels"], row["last_error"]) == (
        "sh -c echo out; echo err >&2", 0, {"kind": "ways"}, "err",
    )  # fmt: skip
    one = dashboard.get(f"/api/tasks/{uid}").json()
    assert one["data"]["output"] == ["out\n"]
    assert one == queue.get(uid).load()
    assert uid in [task["uid"] for task in dashboard.get("/api/tasks/executor/shell").json()["tasks"]]
    assert dashboard.get("/api/tasks/executor/slurm").json()["tasks"] == []
    output = dashboard.get(f"/api/tasks/{uid}/output?stream=stderr")
    assert (output.body, output.headers["content-disposition"]) == (
        b"err\n", f'attachment; filename="{uid}.stderr"',
    )  # fmt: skip
    trail = until(lambda: _ended(dashboard, uid))
    assert (trail[0]["status"], trail[0]["by"] != "") == ("queued", True)
    assert dashboard.get(f"/executor/{uid}").headers["location"] == f"/shell?task={uid}"
    assert dashboard.get(f"/executor/{uid[-8:]}").headers["location"] == f"/shell?task={uid}"


def _ended(dashboard: Dashboard, uid: str) -> list[dict[str, str]]:
    lines: list[dict[str, str]] = dashboard.get(f"/api/tasks/{uid}/events").json()
    return lines if lines and lines[-1]["outcome"] else []


def test_lists_are_filtered_sorted_and_paged(queue: Queue, dashboard: Dashboard) -> None:
    """Filters narrow, pages follow each other, and nothing but what was asked for is shown."""
    labelled = Options(labels={"kind": "paged"})
    ids = [queue.submit(f"echo paged-{number}", labelled).taskid for number in range(5)]
    for uid in ids:
        dashboard.shows(uid, outcome="success")
    first = dashboard.get("/api/tasks?label=kind=paged&limit=2").json()
    assert (first["total"], [task["uid"] for task in first["tasks"]]) == (5, ids[:2:-1])
    second = dashboard.tasks("?label=kind=paged&limit=2&page=2")
    assert [task["uid"] for task in second] == ids[2:0:-1]
    upwards = dashboard.tasks("?label=kind=paged&order=asc&sort=command")
    assert [task["uid"] for task in upwards] == ids
    assert [task["uid"] for task in dashboard.tasks(r"?q=PAGED-[34]$")] == ids[:2:-1]
    assert dashboard.tasks("?label=kind=paged&state=failure") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/tasks?limit=x", 400),
        ("/api/tasks?page=99999999999999999999", 400),
        ("/api/tasks?q=(", 400),
        ("/api/tasks?colour=red", 400),
        ("/api/tasks/zzzz", 404),
        ("/api/tasks/0badc0de", 404),
        ("/api/tasks/0badc0de/output?stream=stdlog", 400),
        ("/executor/0badc0de", 404),
    ],
)
def test_what_is_wrong_is_said(dashboard: Dashboard, path: str, status: int) -> None:
    """A wrong request gives a sentence as JSON, never a page or a traceback."""
    answer = dashboard.get(path)
    assert (answer.status, bool(answer.json()["error"])) == (status, True)


def test_cancel_rerun_clear(queue: Queue, dashboard: Dashboard) -> None:
    """Each says what became of each task, and it does become so."""
    uid = queue.submit("sleep 300").taskid
    dashboard.shows(uid, status="running")
    assert dashboard.post("/api/tasks/cancel", {"tasks": [uid]}).json()["results"][0]["ok"]
    dashboard.shows(uid, outcome="cancelled")
    assert "in the dashboard" in queue.get(uid).load()["cancel"]["reason"]
    again = dashboard.post("/api/tasks/rerun", {"tasks": [{"task": uid, "attempt": 1}]}).json()["results"]
    assert again == [{"task": uid, "ok": True, "said": "queued again"}]
    dashboard.shows(uid, attempt=2, status="running")
    stale = dashboard.post("/api/tasks/cancel", {"tasks": [{"task": uid, "attempt": 1}]}).json()["results"]
    assert stale == [{"task": uid, "ok": True, "said": "nothing was left to do"}]
    assert queue.get(uid).status == "running"
    refused = dashboard.post("/api/tasks/clear", {"tasks": [uid]}).json()["results"][0]
    assert not refused["ok"]
    queue.get(uid).run_action("cancel")
    dashboard.shows(uid, outcome="cancelled", attempt=2)
    assert dashboard.post("/api/tasks/clear", {"tasks": [uid]}).json()["results"][0]["ok"]
    until(lambda: not dashboard.tasks(f"?q={uid}"))


def test_actions_are_answered(queue: Queue, dashboard: Dashboard) -> None:
    """An executor's actions run by name; one that there isn't is refused."""
    uid = queue.run("echo acted").taskid
    assert dashboard.post(f"/api/tasks/{uid}/action/output", {}).json() == {"answer": "acted\n"}
    assert dashboard.post(f"/api/tasks/{uid}/action/explode", {}).status == 400


def test_a_dashboard_that_shows_changes_nothing(queue: Queue, reading: Dashboard) -> None:
    """Every change is refused with the way to allow it; reading actions still are answered."""
    uid = queue.submit("sleep 300").taskid
    for verb in ("cancel", "rerun", "clear"):
        answer = reading.post(f"/api/tasks/{verb}", {"tasks": [uid]})
        assert answer.status == 403
        assert "--allow-actions" in answer.json()["error"]
    assert reading.post(f"/api/tasks/{uid}/action/cancel", {}).status == 403
    assert reading.post(f"/api/tasks/{uid}/action/status", {}).json()["answer"]["uid"] == uid
    assert queue.get(uid).record.cancel is None
    queue.get(uid).run_action("cancel")


def test_executors_and_metrics(dashboard: Dashboard) -> None:
    """Who is there to run tasks, and the same in numbers."""
    shell = until(
        lambda: [one for one in dashboard.get("/api/executors").json() if one["executor"] == "shell"]
    )[0]
    assert [worker["slots"] for worker in shell["workers"]] == [2]
    page = dashboard.get("/metrics").body.decode()
    assert "qme_dashboard_up 1.0" in page
    assert 'qme_dashboard_tasks{state="success"}' in page


def test_it_heals_after_the_bus_was_killed(stack: Stack, queue: Queue, dashboard: Dashboard) -> None:
    """The bus dies and comes back: what happened meanwhile and afterwards is shown, in the same process."""
    (folder,) = (stack.home / "local").iterdir()
    state = read_state(Layout(folder))
    assert state is not None
    (server,) = [one for one in state.services if one.name == "nats-server"]
    os.kill(server.pid, signal.SIGKILL)
    uid = queue.run("echo after").taskid
    dashboard.shows(uid, outcome="success")
    until(lambda: dashboard.get("/readyz").status == 200)
