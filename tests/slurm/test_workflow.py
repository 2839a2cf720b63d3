"""The example workflow on real input: a C program is compiled, tested over a matrix, measured in jobs, reported on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "c-project"
PATIENCE = 90.0


def tasks(qme: Stack) -> dict[str, dict[str, Any]]:
    """The tasks of the workflow by name."""
    listed = json.loads(qme.ok("ls", "@c-project", "--limit", "0", "--json"))
    return {task["name"]: task for task in listed}


def until(qme: Stack, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
    """Wait until something holds of the tasks."""
    deadline = time.monotonic() + PATIENCE
    while not holds(found := tasks(qme)):
        assert time.monotonic() < deadline, {
            name: (one["status"], one["reason"]) for name, one in found.items()
        }
        time.sleep(0.3)
    return found


def test_a_c_project_interrupted_and_resumed(qme: Stack, slurm: Cluster) -> None:
    """Stopped with the whole stack while its jobs run; submitted again it goes on there, and compiles nothing twice."""
    folder = slurm.work / "c-project"
    shutil.copytree(EXAMPLE, folder)
    script = folder / "measure.sh"
    gate = f"until [ -e {folder}/go ]; do sleep 0.2; done"
    script.write_text(script.read_text().replace("set -eu\n", f"set -eu\n{gate}\n"))
    flow = str(folder / "flow.toml")
    ids = qme.ok("submit", "--workflow", flow).split()
    assert len(ids) == 20
    stopped = until(
        qme,
        lambda found: (
            all(one["outcome"] == "success" for name, one in found.items() if name.startswith("check"))
            and all(one["data"].get("jobid") for name, one in found.items() if name.startswith("measure"))
        ),
    )
    assert {one["executor"] for name, one in stopped.items() if name.startswith("measure")} == {"slurm"}
    assert stopped["report"]["waiting_for"]["count"] == 10
    qme.ok("cancel", "@c-project")
    assert qme.qme("wait", "@c-project", timeout=PATIENCE).returncode == 7
    assert not (folder / "report.txt").exists()
    qme.ok("down")

    (folder / "go").touch()
    again = qme.qme("submit", "--workflow", flow, "--wait", timeout=PATIENCE)
    assert again.returncode == 0, again.stderr
    assert b"group @c-project: 4 again, 16 kept\n" in again.stderr
    assert again.stdout.decode().split() == ids
    done = tasks(qme)
    attempts = {name: one["attempt"] for name, one in done.items()}
    assert {name for name, attempt in attempts.items() if attempt == 2} == {
        "measure[0]",
        "measure[2]",
        "report",
        "failed",
    }
    assert sorted(attempts.values()) == [1] * 16 + [2] * 4
    assert done["failed"]["outcome"] == "cancelled"
    for name, one in done.items():
        for parent in (one["after"] or {"parents": ()})["parents"] if one["outcome"] == "success" else ():
            (above,) = (task for task in done.values() if task["uid"].endswith(parent["uuid"]))
            assert above["finished"] <= one["started"] or above["executor"] == "slurm", (name, above["name"])
    report = (folder / "report.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in report] == [
        "O0", "O2", "empty", "empty", "long", "long", "source", "source", "words", "words",
    ]  # fmt: skip
    assert "long: 1 lines, 1 words, 100001 bytes, longest line 100000" in report
