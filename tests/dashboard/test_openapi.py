"""The document of the HTTP interface against a real dashboard, by schemathesis: what it says is what is answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.dashboard.conftest import PATIENCE, Dashboard
from tests.integration.stack import Stack

from qme import Queue

#: seconds that requests are made up for
SECONDS = 8
PASSWORD = "ops:made up for this"
#: real ids among those made up. Not every text is a regular expression, or an action of a task: 400 is right for those
_CONFIG = """
suppress-health-check = ["all"]
dictionaries.ids.values = ["{uid}"]
dictionaries.actions.values = ["output", "status", "cancel"]

[parameters]
task = {{ dictionary = "ids", probability = 0.5 }}
action = {{ dictionary = "actions", probability = 0.5 }}

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 307, 400, 404, 409]
"""

pytestmark = pytest.mark.timeout(600)


def test_what_the_document_says_is_what_is_answered(stack: Stack, queue: Queue, tmp_path: Path) -> None:
    """Right and wrong requests, with and without the password: no error of the server, no answer it does not tell."""
    uid = queue.run(["sh", "-c", "echo out; echo err >&2; exit 3"]).taskid
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    config = tmp_path / "schemathesis.toml"
    config.write_text(_CONFIG.format(uid=uid))
    basic = {"QME_DASHBOARD_AUTH": "basic", "QME_DASHBOARD_PASSWORD": str(password)}
    dashboard = Dashboard(stack, "--allow-actions", **basic).ready()
    try:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(config), "run",
                f"{dashboard.url}/api/openapi.json", "--auth", PASSWORD, "--max-time", str(SECONDS),
                "--generation-database", "none",
            ],
            cwd=tmp_path, env=stack.env, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    finally:
        dashboard.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Operations:       12 selected / 12 total" in done.stdout
