"""`Futures`, with a real submitter and a player for a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest
from tests.unit.client.scene import USER
from tests.unit.client.world import client_of_a_world

from qme import Futures, Queue
from qme.bus.kv import Bucket
from qme.client import AsyncClient, Options
from qme.client import futures as futures_module
from qme.client import queue as queue_module
from qme.contracts import subjects
from qme.contracts.tasks import TaskRecord
from qme.errors import BusUnavailable, InvalidRequest, NoExecutorMatches, NotFound
from qme.settings import Settings


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue in a world of its own."""
    monkeypatch.setattr(queue_module, "connect", client_of_a_world)
    settings = Settings(home=tmp_path, user=USER, host="laptop", request_timeout=5.0, publish_retry=2.0)
    with Queue(settings) as made:
        yield made


@pytest.fixture
def tasks(queue: Queue) -> Iterator[Futures]:
    """Futures on that queue; what is left is ended."""
    made = Futures(queue)
    yield made
    made.shutdown(cancel_futures=True)


def test_results_come_as_tasks_end(tasks: Futures) -> None:
    """The exit code is no error; `as_completed` and `wait` of the standard library take the futures."""
    some = [tasks.submit(["exit", str(code)]) for code in (0, 3)]
    done = {future.result().returncode for future in futures.as_completed(some, timeout=20)}
    assert done == {0, 3}
    assert futures.wait(some, timeout=20).not_done == set()


def test_map_keeps_the_order(tasks: Futures, monkeypatch: pytest.MonkeyPatch) -> None:
    """More commands than fit one batch, each answered once."""
    monkeypatch.setattr(futures_module, "TOGETHER", 8)
    words = [f"echo {number}" for number in range(30)]
    assert [task.command for task in tasks.map(words, timeout=50)] == words


def test_a_refusal_is_raised_by_its_own_future(tasks: Futures) -> None:
    """Others of the same batch go on; words that can't travel are refused at once."""
    good, bad = tasks.submit("echo a"), tasks.submit("echo b", Options(executor="nobody"))
    assert good.result(20).output == "a\n"
    with pytest.raises(NoExecutorMatches):
        bad.result(20)
    with pytest.raises(InvalidRequest):
        tasks.submit("\0")


def test_cancel_ends_the_task(queue: Queue, tasks: Futures) -> None:
    """Also a running one; who waits is woken at once; one that has ended can't be cancelled."""
    runs, ends = tasks.submit("sleep 1000"), tasks.submit("echo a")
    ends.result(20)
    assert not ends.cancel()
    assert runs.cancel()
    assert runs.cancel()
    assert [one.cancelled() for one in futures.as_completed([runs], timeout=5)] == [True]

    deadline = time.monotonic() + 20
    while queue.get(runs.submission.uuid).record.cancel is None:
        assert time.monotonic() < deadline


def test_the_same_key_is_the_same_task(tasks: Futures) -> None:
    """Two futures of one task, and one of a task that ended before."""
    first, second = (tasks.submit("echo a", Options(key="k")) for _ in range(2))
    assert first.result(20).taskid == second.result(20).taskid
    assert tasks.submit("echo a", Options(key="k")).result(20).taskid == first.result().taskid


def test_a_cleared_task_has_no_result(queue: Queue, tasks: Futures) -> None:
    """It says so."""
    future = tasks.submit("sleep 1000")

    async def clear(client: AsyncClient) -> None:
        records = Bucket(client.bus, subjects.BUCKET_TASKS, TaskRecord)
        entry = await records.get(subjects.any_key(future.submission.uuid))
        assert entry is not None
        await records.delete(str(entry.value.key), entry.revision)

    tasks.submit("echo a").result(20)  # what was submitted first is there by now
    queue.call(clear)
    with pytest.raises(NotFound, match="cleared"):
        future.result(40)


def test_leaving_waits_and_closes(queue: Queue) -> None:
    """After the block all have ended, and nothing new is taken."""
    with Futures(queue, Options(message="a note")) as tasks:
        future = tasks.submit("echo a")
    assert future.done()
    assert future.result().record.message == "a note"
    with pytest.raises(RuntimeError):
        tasks.submit("echo b")


def test_no_bus_no_task(tmp_path: Path) -> None:
    """Each future tells why; nothing hangs."""
    settings = Settings(
        home=tmp_path, user=USER, host="laptop", nats_url="nats://127.0.0.1:1", publish_retry=0.1
    )
    queue = Queue(settings)
    with pytest.raises(BusUnavailable):
        Futures(queue).submit("echo a").result(40)
    queue.close()
