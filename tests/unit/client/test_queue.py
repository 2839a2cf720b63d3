"""`Queue`, with a real submitter and a player for a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.client.scene import USER
from tests.unit.client.world import client_of_a_world

from qme import Queue
from qme.client import Options
from qme.client import queue as queue_module
from qme.errors import InvalidRequest, NoExecutorMatches, NotFound, WaitTimedOut
from qme.settings import Settings


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue in a world of its own."""
    monkeypatch.setattr(queue_module, "connect", client_of_a_world)
    settings = Settings(home=tmp_path, user=USER, host="laptop", request_timeout=5.0, publish_retry=2.0)
    with Queue(settings) as made:
        yield made


def test_the_originals_verbs(queue: Queue) -> None:
    """run, get, list, search, rerun, clear, and what a task can do."""
    task = queue.run("echo hello moto", message="a note")
    assert (task.executor.name, task.command) == ("shell", "echo hello moto")
    assert task.taskid == f"shell-{task.record.uuid}"
    assert task.summary() == "[shell][success] echo hello moto"
    assert task.load()["message"] == "a note"
    assert task.export()["output"] == ["hello moto\n"]
    assert task.run_action("output") == "hello moto\n"
    assert queue.get().taskid == queue.get(task.taskid[-8:]).taskid == task.taskid
    other = queue.run(["exit", "3"])
    assert other.export()["returncode"] == 3
    assert [one.taskid for one in queue.list("shell")] == [other.taskid, task.taskid]
    assert [one.taskid for one in queue.search("MOTO")] == [task.taskid]
    assert queue.rerun(task.taskid).record.attempt == 2
    assert queue.clear(task.taskid, noprompt=True) == 1
    with pytest.raises(NotFound):
        queue.get(task.taskid)
    assert queue.clear("shell", noprompt=True) == 1
    assert queue.list() == []


def test_a_task_tells_how_it_went(queue: Queue) -> None:
    """Status, outcome and code as last read; its output as text."""
    task = queue.run("echo hello moto")
    assert (task.status, task.outcome, task.returncode) == ("complete", "success", 0)
    assert (task.output, task.error) == ("hello moto\n", "")
    failed = queue.run(["exit", "3"])
    assert (failed.outcome, failed.returncode, failed.output) == ("failed", 3, "")
    waiting = queue.submit("sleep 1000")
    assert (waiting.outcome, waiting.returncode) == (None, None)


def test_submit_does_not_wait(queue: Queue) -> None:
    """`wait` does, with a limit where one is given; `cancel` is an action."""
    task = queue.submit("sleep 1000")
    with pytest.raises(WaitTimedOut):
        task.wait(0.05)
    assert task.run_action("status")["status"] in ("queued", "running")
    assert queue.submit("echo x").wait(10).record.ended


def test_clear_asks_first(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not a yes is a no."""
    queue.run("echo x")
    answers = iter(("", "no", "y"))
    questions: list[str] = []

    def ask(text: str) -> str:
        questions.append(text)
        return next(answers)

    monkeypatch.setattr("builtins.input", ask)
    assert [queue.clear() for _ in range(3)] == [0, 0, 1]
    assert all("Clear 1 task" in question for question in questions)


def test_errors_come_through_the_thread(queue: Queue) -> None:
    """As the same classes that the command line maps to exit codes."""
    with pytest.raises(InvalidRequest, match="empty"):
        queue.run("")
    with pytest.raises(NotFound):
        queue.get("banana")
    with pytest.raises(InvalidRequest):
        queue.search("(")
    with pytest.raises(NoExecutorMatches):
        queue.call(lambda client: client.submit("true", Options(executor="nosuch")))


def test_several_threads_share_one_queue(queue: Queue) -> None:
    """Each gets its own task."""
    found: list[str] = []

    def use(n: int) -> None:
        found.append(queue.run(f"echo {n}").export()["output"][0])

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [f"{n}\n" for n in range(8)]


def test_a_closed_queue_connects_again(queue: Queue) -> None:
    """It is a new world here, so it knows nothing of the old one."""
    queue.run("echo x")
    queue.close()
    queue.close()
    with pytest.raises(NotFound):
        queue.get()
