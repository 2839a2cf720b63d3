"""A dashboard outlives the local stack that it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.dashboard.conftest import Dashboard, until
from tests.integration.stack import Stack

pytestmark = pytest.mark.timeout(600)


def test_another_stack_in_the_old_ones_place_is_found_and_none_is_started(tmp_path: Path) -> None:
    """After `qme down` it says that it is cut off, and leaves it so; a stack made anew, elsewhere and without the old
    tasks, is shown as it is.
    """
    stack = Stack(tmp_path)
    old = stack.ok("submit", "--wait", "echo", "before").strip()
    dashboard = Dashboard(stack).ready()
    try:
        dashboard.shows(old, outcome="success")
        stack.ok("down")
        until(lambda: dashboard.get("/readyz").status == 503)
        assert stack.qme("status").returncode == 5
        assert [task["uid"] for task in dashboard.tasks()] == [old]
        shutil.rmtree(tmp_path / "local")
        new = stack.ok("submit", "--wait", "echo", "after").strip()
        dashboard.shows(new, outcome="success")
        until(lambda: [task["uid"] for task in dashboard.tasks()] == [new])
        until(lambda: dashboard.get("/readyz").status == 200)
    finally:
        dashboard.close()
        stack.qme("down", "--cancel")
