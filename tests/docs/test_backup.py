"""Follows docs/backup.md command by command: the local stack as a person has it, and a site's bus that loses its disk.

What the page leaves to whoever runs a site, starting and ending services, is done here.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stack import Stack

from qme.bus.connect import connect
from qme.contracts import subjects
from qme.settings import Settings
from qme.testing.nats import NatsServer

PAGE = Path(__file__).parents[2] / "docs/backup.md"
LOCAL_BACKUP, LOCAL_RESTORE, SITE_BACKUP, SITE_RESTORE = (
    re.sub(r"^ +", "", block, flags=re.MULTILINE)
    for block in re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)
PATIENCE = 60.0

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(300)]


class Place:
    """A machine of ours, on which the page's blocks are run."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.stack = Stack(folder / "qme", {"HOME": str(folder), **env})
        self.stack.home.mkdir()

    def follow(self, block: str, *, code: int = 0) -> str:
        """Run a block of the page and give what it printed."""
        path = f"{Path(sys.executable).parent}:{self.stack.env['PATH']}"
        done = subprocess.run(
            ["bash", "-ec", block],
            env={**self.stack.env, "PATH": path},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        said = done.stdout.decode()
        assert done.returncode == code, said
        return said

    def starts(self, name: str) -> int:
        """Count how often the command of a marking task was started."""
        marks = self.folder / name
        return len(marks.read_text().split()) if marks.exists() else 0

    def submit(self, name: str, then: str = "true") -> str:
        """Submit a command that marks each of its starts, and says so."""
        text = f"echo $$ >> {self.folder / name}; echo {name}; {then}"
        return self.stack.ok("submit", "sh", "-c", text).strip()

    def ended(self, *ids: str) -> None:
        """Wait for the end of tasks."""
        done = self.stack.qme("wait", *ids, "--timeout", str(PATIENCE), timeout=2 * PATIENCE)
        assert done.returncode in (0, 1, 7), done.stderr

    def facts(self, uid: str) -> tuple[dict[str, Any], str, str]:
        """Give all that is known of a task: its record, its output, its trail."""
        return self.stack.record(uid), self.stack.ok("logs", uid), self.stack.ok("events", uid)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fail when it doesn't in time."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def released(gate: Path) -> Iterator[str]:
    """Give a shell word that waits for the gate, which is open from the end of the context on at the latest."""
    try:
        yield f"until [ -e {gate} ]; do sleep 0.05; done"
    finally:
        gate.touch()


def test_the_local_stack_goes_back_to_its_backup(tmp_path: Path) -> None:
    """Made under load; what had ended is as it was, and nothing that was started meanwhile is started again."""
    here = Place(tmp_path)
    try:
        here.stack.ok("up", "--detach")
        old = here.submit("old")
        here.ended(old)
        with released(tmp_path / "gate") as waiting:
            running = [
                here.submit(f"running-{n}", waiting) for n in range(2)
            ]  # as many as a worker has slots
            until(lambda: all(here.starts(f"running-{n}") for n in range(2)))
            queued = here.submit("queued")
            load = here.stack.start("submit", "--file", _list_of(tmp_path, 60))
            said = here.follow(LOCAL_BACKUP)
            load.communicate(timeout=PATIENCE)
        assert "secrets too" in said
        later = here.submit("later")
        here.ended(*running, queued, later)
        before = here.facts(old)
        refused = here.follow("qme restore ~/qme-backup --replace", code=5)
        assert "the local stack runs" in refused
        here.follow(LOCAL_RESTORE)
        assert here.facts(old) == before
        here.ended(*running, queued)
        assert here.stack.qme("get", later).returncode == 3
        everything = json.loads(here.stack.ok("ls", "--json", "--limit", "0"))
        here.ended(*(record["uid"] for record in everything))
        assert [here.starts(name) for name in ("old", "running-0", "running-1", "queued", "later")] == [1] * 5
        assert {uid: here.stack.ok("logs", uid) for uid in (*running, queued)} == {
            running[0]: "running-0\n",
            running[1]: "running-1\n",
            queued: "queued\n",
        }
        assert here.stack.qme("run", "echo", "on it goes").stdout == b"on it goes\n"
    finally:
        here.stack.qme("down", "--cancel")


def _list_of(folder: Path, count: int) -> str:
    path = folder / "load"
    path.write_text("true\n" * count)
    return str(path)


@contextmanager
def service(place: Place, *argv: str) -> Iterator[None]:
    """Run a service, ended in order at the end."""
    with (place.folder / "services.log").open("ab") as log:
        process = subprocess.Popen(argv, env=place.stack.env, cwd=place.folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_site_that_lost_its_server_goes_back_to_its_backup(tmp_path: Path) -> None:
    """Onto an empty server, while a worker of before lives; what waited says that it may have run."""
    with NatsServer(tmp_path / "nats") as server:
        here = Place(
            tmp_path,
            QME_NATS_URL=server.url,
            QME_NATS_CREDS=str(server.creds),
            QME_SHELL_SLOTS="1",
            QME_JANITOR_INTERVAL="0.5s",
        )
        submitter = ("qme-submitter",)
        worker = here.stack.command("worker", "shell")
        programs = Path(sys.executable).parent
        with released(tmp_path / "gate") as waiting:
            with service(here, *worker):
                with service(here, str(programs / submitter[0])):
                    until(lambda: here.stack.qme("match", "true").stdout.startswith(b"shell"))
                    old = here.submit("old")
                    here.ended(old)
                    before = here.facts(old)
                    running = here.submit("running", waiting)
                    until(lambda: here.starts("running") == 1)
                    queued = here.submit("queued")
                    here.follow(SITE_BACKUP)
                    assert "a submitter serves this bus" in here.follow(SITE_RESTORE, code=2)
                    (tmp_path / "gate").touch()
                    here.ended(running, queued)
                server.kill()
                shutil.rmtree(tmp_path / "nats/jetstream")
                server.start()
                assert "say what becomes of tasks" in here.follow("qme restore ~/backups/monday", code=2)
                said = here.follow(SITE_RESTORE)
                assert "1 that waited were cancelled" in said
                assert "--replace puts the backup" in here.follow(SITE_RESTORE, code=2)
            asyncio.run(_check_whole(server))
            with service(here, str(programs / submitter[0])), service(here, *worker):
                here.ended(running)
                assert here.facts(old)[:2] == before[:2]
                assert here.stack.record(running)["outcome"] == "success"
                record = here.stack.record(queued)
                assert (record["status"], record["attempt"]) == ("cancelled", 1)
                assert "may have run since" in record["reason"]
                again = here.stack.ok("rerun", queued).strip()
                here.ended(again)
                assert [here.starts(name) for name in ("old", "running", "queued")] == [1, 1, 2]
                assert here.stack.ok("logs", running) == "running\n"


async def _check_whole(server: NatsServer) -> None:
    """Every record has its spec, and the trail knows of no later change of it than it has itself."""
    bus = await connect(Settings(home=Path("/nonexistent")), url=server.url, creds=server.creds, name="test")
    try:
        keys = [
            {name[-36:] for name in await bus.subjects(subjects.bucket_stream(bucket), ">")}
            for bucket in (subjects.BUCKET_TASKS, subjects.BUCKET_SPECS)
        ]
        assert keys[0]
        assert keys[0] <= keys[1]
    finally:
        await bus.close()


def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    """A file that is not as it was written, and a folder that is no backup, are found before anything is touched."""
    with NatsServer(tmp_path / "nats") as server:
        here = Place(tmp_path, QME_NATS_URL=server.url, QME_NATS_CREDS=str(server.creds))
        with service(here, str(Path(sys.executable).with_name("qme-submitter"))):
            until(lambda: b"no worker" in here.stack.qme("doctor").stdout)
            here.follow("qme backup b")
            assert "is not empty" in here.follow("qme backup b", code=2)
        assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "b").iterdir()} == {0o600}
        shutil.copytree(tmp_path / "b", tmp_path / "c")
        (tmp_path / "c/backup.json").unlink()
        file = tmp_path / "b/QME_EVENTS.snapshot"
        file.write_bytes(file.read_bytes()[:-1])
        restore = "qme restore {} --waiting run --replace"
        assert "QME_EVENTS.snapshot is not as it was written" in here.follow(restore.format("b"), code=2)
        assert "holds no whole backup" in here.follow(restore.format("c"), code=2)
