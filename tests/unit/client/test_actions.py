"""Actions on tasks."""

from __future__ import annotations

import base64
import json

import pytest
from tests.unit.client.scene import WORKER, Scene, now

from qme.bus.kv import Bucket
from qme.bus.port import Request
from qme.contracts import subjects
from qme.contracts.executors import ActionInfo, Definition, Heartbeat
from qme.contracts.messages import ActionRequest
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import TaskRecord
from qme.errors import BusUnavailable, InvalidRequest, NotPermitted, to_wire
from qme.executor.base import COMMON_ACTIONS


async def define(stage: Scene, *own: str) -> None:
    """Make an executor known that has some actions of its own."""
    actions = (*COMMON_ACTIONS, *(ActionInfo(name=name, remote=True) for name in own))
    definition = Definition(
        executor="shell", pool="u-ann", matchstring=None, account="ann", actions=actions, updated=now()
    )
    bucket = Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Definition)
    await bucket.put(subjects.definition_key("shell", "u-ann"), definition)


async def beat(stage: Scene, worker: str) -> None:
    """Give a worker's sign of life."""
    sign = Heartbeat(
        executor="shell",
        pool="u-ann",
        worker=worker,
        host="h",
        pid=1,
        version="0",
        slots=1,
        active=0,
        started=now(),
        at=now(),
        interval=10.0,
    )
    key = subjects.heartbeat_key("shell", "u-ann", worker)
    await Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Heartbeat).put(key, sign)


async def record_of(stage: Scene, key: TaskKey) -> TaskRecord:
    """Read a record."""
    return await stage.client.get(key.uuid, output=False)


async def test_the_common_ones_need_no_worker(stage: Scene) -> None:
    """Record and log stream have the answers, also when the executor was forgotten."""
    key = await stage.task("make")
    await stage.start(key)
    await stage.write(key, b"one\ntwo")
    await stage.write(key, b"oops\n", "stderr")
    await stage.end(key)
    record = await record_of(stage, key)
    act = stage.client.actions().run
    assert await act(record, "output") == "one\ntwo"
    assert await act(record, "error") == "oops\n"
    assert await act(record, "outputs") == {"output": ["one\n", "two"], "error": ["oops\n"]}
    status = await act(record, "status")
    assert (status["status"], status["outcome"], status["returncode"]) == ("complete", "success", 0)
    assert {info.name for info in await stage.client.actions().of(record)} == {
        one.name for one in COMMON_ACTIONS
    }


async def test_an_executors_own_one_is_asked_of_the_worker_that_has_the_task(stage: Scene) -> None:
    """With attempt and arguments; its answer is JSON, its refusal is raised."""
    await define(stage, "queue")
    key = await stage.run("make")
    seen: list[ActionRequest] = []

    async def answer(request: Request) -> bytes:
        seen.append(ActionRequest.model_validate_json(request.data))
        if len(seen) > 1:
            return json.dumps(to_wire(NotPermitted("not yours"))).encode()
        return b'{"place": 3}'

    subject = subjects.action_subject("*", "shell", "u-ann", WORKER)
    record = await record_of(stage, key)
    async with stage.bus.serve("worker", {subject: answer}):
        assert await stage.client.actions().run(record, "queue", {"long": "yes"}) == {"place": 3}
        with pytest.raises(NotPermitted, match="not yours"):
            await stage.client.actions().run(record, "queue")
    assert (seen[0].uuid, seen[0].attempt, seen[0].action) == (key.uuid, 1, "queue")
    assert seen[0].args == {"long": "yes"}


async def test_another_worker_of_the_pool_answers_for_one_that_is_gone(stage: Scene) -> None:
    """Found by its heartbeat; without one, that is said."""
    await define(stage, "queue")
    record = await record_of(stage, await stage.run("make"))
    with pytest.raises(BusUnavailable, match="it ran on w1"):
        await stage.client.actions().run(record, "queue")

    async def answer(request: Request) -> bytes:
        return b'"from w2"'

    await beat(stage, "w1")
    await beat(stage, "w2")
    async with stage.bus.serve("worker", {subjects.action_subject("*", "shell", "u-ann", "w2"): answer}):
        assert await stage.client.actions().run(record, "queue") == "from w2"


async def test_what_the_log_limit_cut_is_read_from_the_workers_spool(stage: Scene) -> None:
    """Piece by piece, from an offset on."""
    whole = b"0123456789" * 3

    async def answer(request: Request) -> bytes:
        args = ActionRequest.model_validate_json(request.data).args
        piece = whole[args["offset"] : args["offset"] + 8]
        data = base64.b64encode(piece).decode()
        return json.dumps({**args, "size": len(whole), "data": data}).encode()

    record = await record_of(stage, await stage.run("make"))
    async with stage.bus.serve("worker", {subjects.action_subject("*", "shell", "u-ann", WORKER): answer}):
        pieces = [piece async for piece in stage.client.actions().spooled(record, "stdout", 5)]
    assert b"".join(piece.data for piece in pieces) == whole[5:]
    assert [piece.offset for piece in pieces] == [5, 13, 21, 29]


@pytest.mark.parametrize(
    ("name", "args", "said"), [("frobnicate", {}, "it has status"), ("status", {"x": "y"}, "no arguments")]
)
async def test_what_there_is_not_is_refused(stage: Scene, name: str, args: dict[str, str], said: str) -> None:
    """An unknown action names those there are; the common ones take no arguments."""
    record = await record_of(stage, await stage.run("make"))
    with pytest.raises(InvalidRequest, match=said):
        await stage.client.actions().run(record, name, args)


async def test_executors_are_listed_with_the_workers_that_live(stage: Scene) -> None:
    """A heartbeat that is too old counts for nothing."""
    await define(stage)
    await beat(stage, "w1")
    (known,) = await stage.client.executors()
    assert (known.definition.executor, known.approved) == ("shell", True)
    assert [worker.worker for worker in known.workers] == ["w1"]


async def test_an_operator_asks_on_a_subject_of_its_own(stage: Scene) -> None:
    """The worker tells by the subject, which the bus guards."""
    await define(stage, "hold")
    record = await record_of(stage, await stage.run("make"))

    async def answer(request: Request) -> bytes:
        return json.dumps(request.subject).encode()

    subject = subjects.action_subject("*", "shell", "u-ann", WORKER, admin=True)
    async with stage.bus.serve("worker", {subject: answer}):
        asked = await stage.client.actions(admin=True).run(record, "hold")
    assert asked == subjects.action_subject("ann", "shell", "u-ann", WORKER, admin=True)
