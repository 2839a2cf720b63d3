"""The real stack, used by real commands, while its parts are killed and it is stopped with tasks in it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.local.conftest import until
from tests.integration.stack import Stack

from qme.executor.processes import identity_of
from qme.local.layout import Layout, State, read_state


class Whole(Stack):
    """A stack whose processes can be killed."""

    @property
    def state(self) -> State:
        """The state file's content."""
        state = read_state(Layout(self.home / "local" / "here"))
        assert state is not None
        return state

    @property
    def pids(self) -> dict[str, int]:
        """Every process of the stack."""
        return {"supervisor": self.state.pid, **{one.name: one.pid for one in self.state.services}}

    def kill(self, name: str) -> None:
        """Kill one of them and, where somebody is there to do it, see it replaced."""
        before = self.pids
        os.kill(before[name], signal.SIGKILL)
        if name != "supervisor":
            until(lambda: self.pids[name] not in (0, before[name]))


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    """A stack that has not been started."""
    made = Whole(tmp_path, {"QME_HOST": "here"})
    yield made
    if made.qme("down", "--cancel").returncode:
        made.ok("down", "--leave")


def test_any_part_may_be_killed_between_two_commands(whole: Whole) -> None:
    """Each command after a kill -9 gives its output, whichever part was killed."""
    for name in (None, "supervisor", "nats-server", "submitter", "worker-shell"):
        if name:
            whole.kill(name)
        assert whole.qme("run", "echo", str(name)).stdout == f"{name}\n".encode()
    assert len(whole.lines("ls", "--jsonl")) == 5


def test_command_that_runs_while_the_stack_is_killed(whole: Whole, tmp_path: Path) -> None:
    """With every process of the stack killed the command runs on, and the next stack tells its end."""
    flag = tmp_path / "go"
    task = whole.ok("submit", "sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.05; done; echo through").strip()
    until(lambda: whole.record(task)["status"] == "running")
    for pid in whole.pids.values():
        os.kill(pid, signal.SIGKILL)
    flag.touch()
    whole.ok("wait", task)
    assert whole.ok("logs", task) == "through\n"


def test_down_refuses_while_a_task_runs(whole: Whole) -> None:
    """The refusal says what can be done, and nothing has been stopped."""
    task = whole.ok("submit", "sleep", "600").strip()
    until(lambda: whole.record(task)["status"] == "running")
    before = whole.pids
    done = whole.qme("down")
    assert done.returncode == 1
    assert b"1 task runs; `qme down --leave`" in done.stderr
    assert b"`qme down --cancel`" in done.stderr
    assert whole.pids == before


def test_down_with_leave_lets_a_task_run_on(whole: Whole, tmp_path: Path) -> None:
    """It runs while nothing of the stack does, and the next stack has its output and end."""
    flag = tmp_path / "go"
    task = whole.ok("submit", "sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.05; done; echo through").strip()
    until(lambda: whole.record(task)["status"] == "running")
    whole.ok("down", "--leave")
    assert set(whole.pids.values()) == {0, whole.state.pid}
    flag.touch()
    whole.ok("wait", task)
    assert whole.ok("logs", task) == "through\n"


def test_down_with_cancel_ends_running_and_waiting_tasks(whole: Whole) -> None:
    """Nothing is left to run when the stack comes up again."""
    tasks = [whole.ok("submit", "sleep", "600").strip() for _ in range(4)]  # more than the worker takes
    until(lambda: whole.record(tasks[0])["status"] == "running")
    whole.ok("down", "--cancel")
    assert {one["status"] for one in whole.records(tasks)} == {"cancelled"}


def test_waiting_tasks_survive_down(whole: Whole) -> None:
    """A task that no worker has begun is no reason to refuse, and runs with the next stack."""
    whole.ok("up", "--detach")
    os.kill(whole.pids["supervisor"], signal.SIGKILL)  # else it would bring the worker back
    os.kill(whole.pids["worker-shell"], signal.SIGKILL)
    settings = {"QME_NATS_URL": whole.state.url, "QME_NATS_CREDS": str(whole.home / "local/here/nats.creds")}
    task = whole.ok("submit", "echo", "later", env=settings).strip()
    whole.ok("down")
    whole.ok("wait", task)
    assert whole.ok("logs", task) == "later\n"


def test_status_shows_the_parts(whole: Whole) -> None:
    """A line for each service, and an exit code that says whether commands can use it."""
    assert whole.qme("status").returncode == 5
    whole.ok("up", "--detach")
    names = [line.split("\t")[0] for line in whole.lines("status")]
    assert names[:3] == ["nats-server", "submitter", "worker-shell"]
    whole.ok("down")
    assert whole.qme("status").returncode == 5


@pytest.mark.parametrize("user", ["Ann Müller", "jane.doe", "*"])
def test_users_with_unusual_names(whole: Whole, user: str) -> None:
    """The name is that of the credentials and of the record."""
    whole.env["QME_USER"] = user
    assert whole.qme("run", "echo", "me").stdout == b"me\n"
    assert json.loads(whole.ok("get"))["user"] == user


def test_logs_are_json(whole: Whole) -> None:
    """What the services of qme log is JSON, a line each."""
    assert whole.qme("run", "true").returncode == 0
    whole.ok("down")
    for name in ("submitter", "worker-shell"):
        for line in (whole.home / "local/here/log" / f"{name}.log").read_text().splitlines():
            assert line.startswith("{"), line
            json.loads(line)


def test_idle_real_stack_stops_itself_after_its_last_task(whole: Whole) -> None:
    """A task that runs for longer than the stack may be idle keeps it; when that has ended, it stops."""
    whole.env["QME_IDLE_STOP"] = "1s"
    whole.ok("submit", "sleep", "4")
    supervisor = whole.pids["supervisor"]
    begin = time.monotonic()
    until(lambda: identity_of(supervisor) is None, 30)
    assert time.monotonic() - begin > 4
    assert whole.state.stopping
    assert len(whole.lines("ls", "--status", "complete")) == 1
