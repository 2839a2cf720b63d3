"""A worker's unit is restarted while a command runs: what it says to systemd holds for the processes that it starts.

No systemd runs here; `units` does what it would do with ExecStart=, the environment file and KillMode=.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.deploy.units import UNITS, Unit
from tests.integration.stack import Stack, processes, until

from qme.testing.nats import NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(180)]
#: seconds for what takes two on a quiet machine
PATIENCE = 60


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[Stack]:
    """Ann's account on a login node, and a submitter elsewhere."""
    home = tmp_path / "ann"
    (home / ".qme").mkdir(parents=True)
    with NatsServer(tmp_path / "nats") as server:
        bus = {"QME_NATS_URL": server.url, "QME_NATS_CREDS": str(server.creds)}
        account = Stack(
            home / ".qme", {**bus, "HOME": str(home), "QME_HEARTBEAT": "1", "QME_JANITOR_INTERVAL": "1"}
        )
        with (tmp_path / "submitter.log").open("wb") as log:
            program = Path(sys.executable).with_name("qme-submitter")
            submitter = subprocess.Popen([program], env=account.env, stdout=log, stderr=log)
        try:
            yield account
        finally:
            for process in processes(account):
                process.kill()
            submitter.wait()


def test_a_restart_of_the_unit_leaves_commands_alone(ann: Stack, tmp_path: Path) -> None:
    """The worker ends, its keeper and the command live on, the next worker takes them up; nothing starts twice."""
    home = Path(ann.env["HOME"])
    settings = home / ".config/qme/worker-shell.env"
    settings.parent.mkdir(parents=True)
    settings.write_text("# for this machine\nQME_SHELL_SLOTS=3\nQME_WORKER_OPTIONS=--pool lab --user *\n")
    unit = Unit(UNITS / "user/qme-worker@.service", {"i": "shell", "h": str(home)})
    log = tmp_path / "worker.log"
    worker = unit.start(log, ann.env)
    until(lambda: log.exists() and "worker.ready" in log.read_text(), PATIENCE)
    ann.ok("executors", "approve", "shell", "--pool", "lab")
    go = tmp_path / "go"
    script = f"echo $$; until [ -e {go} ]; do sleep 0.1; done; echo done"
    uid = ann.ok("submit", "--pool", "lab", "sh", "-c", script).strip()
    until(lambda: ann.ok("logs", uid) != "", PATIENCE)
    command = psutil.Process(int(ann.ok("logs", uid)))
    keeper = command.parent()
    assert keeper is not None
    assert keeper.pid not in (1, worker.pid)
    group = [one for one in processes(ann) if one.pid not in (worker.pid, os.getpid())]

    unit.stop(worker, [*group, keeper, command])
    assert worker.returncode == 0
    assert (keeper.is_running(), command.is_running()) == (True, True)

    worker = unit.start(log, ann.env)
    until(lambda: log.read_text().count("worker.ready") == 2, PATIENCE)
    go.touch()
    ann.ok("wait", uid, "--timeout", str(PATIENCE))
    assert ann.ok("logs", uid) == f"{command.pid}\ndone\n"
    record = json.loads(ann.ok("get", uid))
    assert (record["outcome"], record["attempt"]) == ("success", 1)
    assert "0/3" in ann.ok("executors", "shell")
    unit.stop(worker, ())
