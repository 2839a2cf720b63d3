"""Programs of an older version and of this one on one bus: side by side, and one taking over from the other.

Nothing is released yet: the older ones are this project as it was at an earlier commit, recorded by `older/make` with
its name in COMMIT. They are real programs, started from where they were unpacked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.stack import until

from qme.testing.nats import NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(600)]
#: seconds for what takes two on a quiet machine
PATIENCE = 90
OLDER, NEWER = "older", "newer"
#: with QME_TEST_ALL also the ways that nobody should go: workers first, and back
ALL = bool(os.environ.get("QME_TEST_ALL"))
#: a command that says its process, and ends when a file appears
GATED = "echo $$; until [ -e {} ]; do sleep 0.1; done; echo done; exit 3"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older version, unpacked."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(Path(__file__).with_name("older") / "older.tar.xz") as recorded:
        recorded.extractall(folder, filter="data")
    return folder


class Mixed:
    """One bus, and programs of both versions that share a home, as an upgrade leaves it."""

    def __init__(self, folder: Path, older: Path, server: NatsServer) -> None:
        self.folder = folder
        self._older = older
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}
        self._env = {
            **kept,
            "QME_HOME": str(folder / "qme"),
            "QME_SITE_CONFIG": str(folder / "none"),
            "QME_NATS_URL": server.url,
            "QME_NATS_CREDS": str(server.creds),
            "QME_HEARTBEAT": "1",
            "QME_JANITOR_INTERVAL": "1",
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def submitter(self, version: str) -> subprocess.Popen[bytes]:
        """Start a submitter, and wait until it works."""
        return self._start(version, "submitter", "submitter.ready", "-m", "qme_submitter")

    def worker(self, version: str) -> subprocess.Popen[bytes]:
        """Start a shell worker, and wait until it works."""
        return self._start(version, "worker", "worker.ready", "-m", "qme.cli", "worker", "shell")

    def stop(self, program: subprocess.Popen[bytes]) -> None:
        """End a program as a service manager does."""
        program.terminate()
        assert program.wait(PATIENCE) == 0

    def qme(self, version: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of that version to its end."""
        argv = [sys.executable, "-m", "qme.cli", *words]
        env = self._of(version)
        return subprocess.run(
            argv,
            env=env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )

    def ok(self, version: str, *words: str) -> str:
        """Run one that has to succeed."""
        done = self.qme(version, *words)
        assert done.returncode == 0, (words, done.stderr, self.logs())
        return done.stdout

    def logs(self) -> str:
        """What the services have said last."""
        return "\n".join(f"{path.name}: {path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))

    def end(self) -> None:
        """End what still runs."""
        for program in self._running:
            program.kill()
            program.wait()

    def _start(self, version: str, name: str, ready: str, *argv: str) -> subprocess.Popen[bytes]:
        path = self.folder / f"{len(self._running)}-{version}-{name}.log"
        with path.open("wb") as log:
            program = subprocess.Popen(
                [sys.executable, *argv], env=self._of(version), cwd=self.folder, stdout=log, stderr=log
            )
        self._running.append(program)
        until(lambda: ready in path.read_text(), PATIENCE)
        return program

    def _of(self, version: str) -> dict[str, str]:
        return self._env | ({"PYTHONPATH": str(self._older)} if version == OLDER else {})


@pytest.fixture
def mixed(tmp_path: Path, older: Path) -> Iterator[Mixed]:
    """A bus for both versions."""
    with NatsServer(tmp_path / "nats") as server:
        one = Mixed(tmp_path, older, server)
        try:
            yield one
        finally:
            one.end()


def test_they_are_two_versions(older: Path, mixed: Mixed) -> None:
    """The older programs are the recorded ones: each version's interpreter finds its own."""
    found = {
        version: subprocess.run(
            [sys.executable, "-c", "import qme, qme_submitter; print(qme.__file__, qme_submitter.__file__)"],
            env=mixed._of(version),
            cwd=mixed.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for version in (OLDER, NEWER)
    }
    assert found[OLDER].count(str(older)) == 2
    assert str(older) not in found[NEWER]


@pytest.mark.parametrize(("submitter", "worker"), [(NEWER, OLDER), *([(OLDER, NEWER)] if ALL else [])])
def test_everyday_work_with_one_older_part(submitter: str, worker: str, mixed: Mixed) -> None:
    """Run, read, cancel, rerun, list and search, with commands of either version: the same as with one version."""
    mixed.submitter(submitter)
    mixed.worker(worker)
    done = mixed.qme(NEWER, "run", "sh", "-c", "echo hello; exit 3")
    assert (done.returncode, done.stdout) == (3, "hello\n"), (done, mixed.logs())
    done = mixed.qme(OLDER, "run", "sh", "-c", "echo hello; echo trouble >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "hello\n"), (done, mixed.logs())
    assert "trouble" in done.stderr
    for client, reader in ((OLDER, NEWER), (NEWER, OLDER)):
        long = mixed.ok(client, "submit", "--label", "kind=long", "sleep", "600").strip()
        until(lambda long=long, client=client: '"running"' in mixed.ok(client, "get", long), PATIENCE)  # type: ignore[misc]
        mixed.ok(client, "cancel", long)
        assert mixed.qme(client, "wait", long, "--timeout", str(PATIENCE)).returncode not in (0, 125)
        assert json.loads(mixed.ok(reader, "get", long))["outcome"] == "cancelled"
        again = mixed.ok(client, "submit", "sh", "-c", "seq 20000").strip()
        mixed.ok(client, "wait", again, "--timeout", str(PATIENCE))
        mixed.ok(client, "rerun", again)
        mixed.ok(client, "wait", again, "--timeout", str(PATIENCE))
        assert mixed.ok(reader, "logs", again).split()[-1] == "20000"
        record = json.loads(mixed.ok(reader, "get", again))
        assert (record["outcome"], record["attempt"]) == ("success", 2)
        assert "seq 20000" in mixed.ok(reader, "search", "seq 20000")


@pytest.mark.parametrize(("before", "after"), [(OLDER, NEWER), *([(NEWER, OLDER)] if ALL else [])])
def test_one_version_takes_over_from_the_other(before: str, after: str, mixed: Mixed) -> None:
    """In the order of docs/deploy/upgrade.md: what runs goes on, what waits is run, nothing is started twice."""
    submitter, worker = mixed.submitter(before), mixed.worker(before)
    go = mixed.folder / "go"
    running = mixed.ok(before, "submit", "sh", "-c", GATED.format(go)).strip()
    beside = mixed.ok(before, "submit", "sh", "-c", GATED.format(go)).strip()
    for uid in (running, beside):
        until(lambda uid=uid: mixed.ok(before, "logs", uid) != "", PATIENCE)  # type: ignore[misc]
    waiting = [
        mixed.ok(before, "submit", "sh", "-c", f"echo {number} >> marks").strip() for number in range(3)
    ]
    mixed.stop(submitter)
    mixed.submitter(after)
    waiting.append(mixed.ok(after, "submit", "sh", "-c", "echo 3 >> marks").strip())
    mixed.stop(worker)
    mixed.worker(after)
    go.touch()
    mixed.qme(after, "wait", running, beside, *waiting, "--timeout", str(PATIENCE))
    for uid in (running, beside):
        record = json.loads(mixed.ok(after, "get", uid))
        assert (record["outcome"], record["data"]["returncode"], record["attempt"]) == ("failed", 3, 1), (
            mixed.logs()
        )
        assert [line.isdigit() or line for line in mixed.ok(after, "logs", uid).split()] == [True, "done"]
    assert sorted((mixed.folder / "marks").read_text().split()) == ["0", "1", "2", "3"]
    for uid in waiting:
        assert json.loads(mixed.ok(after, "get", uid))["outcome"] == "success"
