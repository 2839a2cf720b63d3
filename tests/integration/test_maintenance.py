"""An operator's day: an executor is paused and resumed while people submit; rules of a worker; `qme why` all along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.stack import Stack, until

pytestmark = [pytest.mark.nats, pytest.mark.timeout(240)]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, whose worker has rules and looks often for what operators say."""
    running = Stack(
        tmp_path,
        {"QME_HEARTBEAT": "1", "QME_SHELL_ALLOW": "/usr/bin/(touch|sleep)", "QME_SHELL_MAX_RUNTIME": "1h"},
    )
    running.ok("up", "--detach")
    yield running
    running.qme("down", "--cancel")


def test_a_pause_and_a_rule(stack: Stack) -> None:
    """Who submits under a pause is told, and why; resumed it runs. What a rule refuses says so and leaves no mark."""
    mark = stack.home / "mark"
    stack.ok("executors", "drain", "shell", "--reason", "new disks")
    until(lambda: "drained" in stack.ok("executors"))
    submitted = stack.qme("submit", "touch", str(mark))
    task = submitted.stdout.decode().strip()
    assert "new disks; the task waits" in submitted.stderr.decode()
    (obstacle,) = json.loads(stack.ok("why", task, "--json"))["obstacles"]
    assert (obstacle["kind"], obstacle["reason"], obstacle["drain"]) == ("paused", "new disks", True)
    assert obstacle["says"].startswith("shell is draining, as ")
    stack.ok("executors", "resume", "shell")
    stack.ok("wait", task)
    assert mark.exists()
    mark.unlink()

    refused = stack.qme("run", "sh", "-c", f"touch {mark}")
    assert refused.returncode == 125
    assert b"refused by this worker's rule allow: the program " in refused.stderr
    assert not mark.exists()
    shown = stack.qme("executors", "shell").stderr.decode()
    assert "allow = /usr/bin/(touch|sleep); max_runtime = 1h" in shown
    verbs = [line.split("\t")[2] for line in stack.lines("events", "--all-users")]
    assert verbs[:3] == ["drain", "submit", "resume"]
