"""Each part stands still for a while and goes on (a suspended laptop, a stopped process, a machine under load), and a
reader is far too slow: nothing is lost, nothing is started twice, and the output is whole.

QME_TEST_PAUSE: seconds that each part stands still; `make soak` takes minutes.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.stack import Stack, processes, until
from tests.integration.test_crashes import VICTIMS

PAUSE = float(os.environ.get("QME_TEST_PAUSE", "1.5"))

pytestmark = pytest.mark.timeout(60 + 8 * PAUSE)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of these tests' own, since they stop it; its leases are shorter than a pause."""
    own = Stack(tmp_path_factory.mktemp("still"), {"QME_HEARTBEAT": "0.3s", "QME_LEASE": "1s"})
    own.ok("up", "--detach")
    yield own
    own.qme("down", "--cancel")


def test_each_part_stands_still_while_a_command_runs(still: Stack, tmp_path: Path) -> None:
    """The client too; it then shows all that it has missed, and exits with the command's code."""
    marks, go = tmp_path / "marks", tmp_path / "go"
    script = (
        f"echo $$ >> {marks}; n=0; until [ -e {go} ]; do n=$((n+1)); echo line $n; sleep 0.05; done; exit 7"
    )
    with still.start("run", "sh", "-c", script) as client:
        until(marks.exists)
        parts = [processes(still, *words)[0].pid for words in VICTIMS.values()]
        for pid in (*parts, client.pid):
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(PAUSE)
            finally:
                os.kill(pid, signal.SIGCONT)
        go.touch()
        out, err = client.communicate(timeout=60 + PAUSE)
    assert (client.returncode, len(marks.read_text().split())) == (7, 1), err
    lines = out.decode().splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    uid = still.lines("ls")[0].split("\t")[0]
    assert still.ok("logs", uid) == out.decode()


def test_a_task_that_was_submitted_while_its_worker_stood_still(still: Stack, tmp_path: Path) -> None:
    """It waits, is started once, and a wish to cancel another one reaches the worker when it goes on."""
    marks = tmp_path / "marks"
    (worker,) = processes(still, *VICTIMS["worker"])
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        uid = still.ok("submit", "sh", "-c", f"echo $$ >> {marks}").strip()
        unwanted = still.ok("submit", "sh", "-c", f"echo $$ >> {marks}").strip()
        assert still.qme("cancel", unwanted).returncode == 0
        time.sleep(PAUSE)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert still.qme("wait", uid, "--timeout", "40").returncode == 0
    assert still.record(unwanted)["outcome"] == "cancelled"
    assert len(marks.read_text().split()) == 1


def test_a_reader_that_is_far_too_slow(still: Stack, tmp_path: Path) -> None:
    """40 MB come while nobody reads the client's stdout: what it drops of them it reads from the stream."""
    copy = tmp_path / "copy"
    with still.start("run", "sh", "-c", f"head -c 40000000 /dev/urandom | tee {copy}") as client:
        until(lambda: copy.exists() and copy.stat().st_size == 40_000_000)
        uid = still.lines("ls")[0].split("\t")[0]
        assert still.qme("wait", uid, "--timeout", "50").returncode == 0
        out, err = client.communicate(timeout=50)
    assert client.returncode == 0, err
    assert hashlib.sha256(out).hexdigest() == hashlib.sha256(copy.read_bytes()).hexdigest()
