"""kill -9 of each part while a command runs: it goes on, is started once, and its record ends right."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.stack import Stack, processes, until


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of these tests' own, since they break it."""
    own = Stack(tmp_path_factory.mktemp("fragile"))
    own.ok("up", "--detach")
    yield own
    own.qme("down", "--cancel")


def slow_task(stack: Stack, marks: Path) -> str:
    """A task that notes each of its starts in a file, then takes two seconds; running when this returns."""
    uid = stack.ok("submit", "sh", "-c", f"echo $$ >> {marks}; echo begun; sleep 2; echo ended").strip()
    until(marks.exists)
    return uid


VICTIMS = {
    "worker": ("worker", "shell"),
    "submitter": ("qme_submitter",),
    "nats-server": ("nats-server",),
    "supervisor": ("qme.local",),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_while_a_command_runs(victim: str, fragile: Stack, tmp_path: Path) -> None:
    """The output is whole, the exit code right, and the command was started once."""
    marks = tmp_path / "marks"
    uid = slow_task(fragile, marks)
    (process, *others) = processes(fragile, *VICTIMS[victim])
    assert not others, "which one is it?"
    process.send_signal(signal.SIGKILL)
    done = fragile.qme("wait", uid, "--timeout", "40")
    assert done.returncode == 0, done.stderr
    assert fragile.ok("logs", uid) == "begun\nended\n"
    assert len(marks.read_text().split()) == 1
    assert fragile.record(uid)["attempt"] == 1


#: `qme` that dies with the reply to its submission in hand, or just before it asks
DYING_CLIENT = """
import os, signal, sys
from qme.bus.jetstream import JetStreamBus
from qme.cli import main
ask = JetStreamBus.request
async def request(self, subject, data, **options):
    submits = subject.endswith(".submit")
    if submits and sys.argv[1] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = await ask(self, subject, data, **options)
    if submits:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
JetStreamBus.request = request
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_of_a_client_before_it_prints_the_id(when: str, fragile: Stack, tmp_path: Path) -> None:
    """Submitted again under the same key it is the same task, run once, whether the first one got through or not."""
    marks = tmp_path / "marks"
    submit = ("submit", "--key", f"once-{when}", "sh", "-c", f"echo x >> {marks}")
    argv = [sys.executable, "-c", DYING_CLIENT, when, *submit]
    died = subprocess.run(
        argv, env=fragile.env, cwd=fragile.home, capture_output=True, timeout=60, check=False
    )
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, b"")
    uid = fragile.ok(*submit).strip()
    assert fragile.qme("wait", uid, "--timeout", "40").returncode == 0
    assert fragile.ok(*submit).strip() == uid
    assert marks.read_text() == "x\n"


def test_kill_9_of_everything_at_once(fragile: Stack, tmp_path: Path) -> None:
    """All services die together; the next command brings them back, and the keeper kept the task."""
    marks = tmp_path / "marks"
    uid = slow_task(fragile, marks)
    for words in ("supervisor", "worker", "submitter", "nats-server"):
        for process in processes(fragile, *VICTIMS[words]):
            process.send_signal(signal.SIGKILL)
    done = fragile.qme("wait", uid, "--timeout", "40")
    assert done.returncode == 0, done.stderr
    assert fragile.ok("logs", uid) == "begun\nended\n"
    assert len(marks.read_text().split()) == 1


def test_kill_9_of_the_keeper_is_lost_and_says_so(fragile: Stack, tmp_path: Path) -> None:
    """Nobody can know how a command ended whose parent died; it is not started again."""
    marks = tmp_path / "marks"
    uid = slow_task(fragile, marks)
    (keeper,) = processes(fragile, "keeper", "spool/shell")  # a Slurm worker may have one, too
    keeper.send_signal(signal.SIGKILL)
    done = fragile.qme("wait", uid, "--timeout", "40")
    assert done.returncode == 125
    record = fragile.record(uid)
    assert (record["status"], record["outcome"]) == ("lost", "lost")
    assert "keeper" in record["reason"]
    assert len(marks.read_text().split()) == 1
    assert fragile.qme("run", "echo", "next").stdout == b"next\n"


def test_a_queued_task_waits_out_a_dead_worker(fragile: Stack) -> None:
    """Submitted while nobody is there to run it, it runs when somebody comes."""
    (worker,) = processes(fragile, *VICTIMS["worker"])
    worker.send_signal(signal.SIGKILL)
    ids = [fragile.ok("submit", "echo", str(number)).strip() for number in range(5)]
    assert fragile.qme("wait", *ids, "--timeout", "40").returncode == 0
    assert [fragile.ok("logs", uid) for uid in ids] == [f"{number}\n" for number in range(5)]


def test_cancel_reaches_a_worker_that_was_away(fragile: Stack, tmp_path: Path) -> None:
    """The wish is kept in the record; the worker fulfils it when it is back."""
    marks = tmp_path / "marks"
    uid = fragile.ok("submit", "sh", "-c", f"echo $$ > {marks}; sleep 600").strip()
    until(marks.exists)
    (worker,) = processes(fragile, *VICTIMS["worker"])
    worker.send_signal(signal.SIGKILL)
    assert fragile.qme("cancel", uid).returncode == 0
    fragile.qme("wait", uid, "--timeout", "40")
    assert fragile.record(uid)["outcome"] == "cancelled"
    until(lambda: not psutil.pid_exists(int(marks.read_text())))
