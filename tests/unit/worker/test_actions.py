"""What a worker answers when it is asked."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from tests.unit.worker.lab import Lab, until

from qme.errors import BusUnavailable, QmeError
from qme.executor import Held, action
from qme_executor_shell import ShellExecutor, ShellSettings


class Talkative(ShellExecutor):
    """A shell with actions of its own."""

    asked = 0

    @action()
    async def where(self, held: Held, name: str = "pwd") -> dict[str, Any]:
        """Tell where it runs."""
        self.asked += 1
        await asyncio.sleep(0.05)
        return {"value": held.record.data.get(name), "spec": held.spec is not None}

    @action(changes=True)
    async def poke(self, held: Held) -> str:
        """Poke it."""
        return f"poked {held.record.uid}"


@pytest.fixture
def shell() -> Talkative:
    """An executor that counts."""
    return Talkative(ShellSettings())


async def test_an_action_of_its_own(lab: Lab, shell: Talkative) -> None:
    """An executor's action is given the task and its arguments; equal questions share one answer."""
    async with lab.worker(shell):
        key = await lab.submit("true", cwd="/tmp")
        worker = (await lab.ended(key)).worker or ""
        answers = await asyncio.gather(*(lab.ask(key, worker, action="where") for _ in range(5)))
        other = await lab.ask(key, worker, action="where", args={"name": "returncode"})
    assert answers == [{"value": "/tmp", "spec": True}] * 5
    assert other == {"value": 0, "spec": True}
    assert shell.asked == 2


@pytest.mark.parametrize(
    ("user", "admin", "allowed"), [("ann", False, True), ("bob", False, False), ("bob", True, True)]
)
async def test_changing_needs_the_owner(
    lab: Lab, shell: Talkative, user: str, admin: bool, allowed: bool
) -> None:
    """Only the owner or an operator may change a task; everybody may read."""
    async with lab.worker(shell):
        key = await lab.submit("true")
        worker = (await lab.ended(key)).worker or ""
        answer = await lab.ask(key, worker, user, admin=admin, action="poke")
        read = await lab.ask(key, worker, user, admin=admin, action="where", args={"name": "status"})
    assert (answer == f"poked {key.taskid}") is allowed
    if not allowed:
        assert answer["error"]["code"] == "not_permitted"
    assert read == {"value": "complete", "spec": True}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"action": "nothing"}, "invalid"),
        ({"action": "where", "args": {"colour": "red"}}, "invalid"),
        ({"action": "execute"}, "invalid"),
        ({"action": "__class__"}, "invalid"),
        ({"action": "output", "args": {"offset": "x"}}, "invalid"),
        ({"action": "output", "args": {"offset": -1}}, "invalid"),
        ({"action": "output", "args": {"offset": 0, "stream": "../exit"}}, "invalid"),
        ({"action": "output", "attempt": 9, "args": {"offset": 0}}, "not_found"),
    ],
)
async def test_bad_requests(lab: Lab, shell: Talkative, fields: dict[str, Any], code: str) -> None:
    """What can't be answered says why."""
    async with lab.worker(shell):
        key = await lab.submit("true")
        worker = (await lab.ended(key)).worker or ""
        answer = await lab.ask(key, worker, **fields)
    assert answer["error"]["code"] == code


async def test_output_from_the_spool(lab: Lab) -> None:
    """The spool's output can be read from any offset, also while the command runs."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "echo hello; sleep 60")
        worker = (await lab.running(key)).worker or ""
        answer = await lab.ask(key, worker, action="output", args={"offset": 2})
        await lab.cancel(key)
        await lab.ended(key)
    assert base64.b64decode(answer["data"]) == b"llo\n"
    assert (answer["size"], answer["stream"]) == (6, "stdout")


async def test_a_worker_that_is_gone(lab: Lab) -> None:
    """Nobody answers for a worker that has left."""
    async with lab.worker():
        key = await lab.submit("true")
        worker = (await lab.ended(key)).worker or ""
    with pytest.raises(QmeError) as error:
        await lab.ask(key, worker)
    assert not isinstance(error.value, BusUnavailable)


async def test_an_executor_that_fails(lab: Lab) -> None:
    """A mistake in an executor ends its task with the mistake's name, and no command of it runs on."""

    class Broken(ShellExecutor):
        async def execute(self, task: Any) -> Any:
            self.running = asyncio.create_task(task.run(["sleep", "60"]))
            await until(lambda: _has_started(task))
            raise RuntimeError("oops")

    async def _has_started(task: Any) -> bool:
        return bool(task.started)

    async with lab.worker(Broken(ShellSettings())):
        key = await lab.submit("x")
        record = await lab.ended(key)
    assert record.reason == "the executor failed: RuntimeError: oops"
    assert record.data["returncode"] == 125


async def test_a_signal_reaches_what_runs(lab: Lab) -> None:
    """The owner's alone; the task goes on, and an unknown signal or a task that has ended is said."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "trap 'exit 7' USR1; echo up; while :; do sleep 0.1; done")
        worker = (await lab.running(key)).worker or ""
        await until(lambda: lab.chunks(key))
        stranger = await lab.ask(key, worker, "bob", action="signal", args={"signal": "USR1"})
        unknown = await lab.ask(key, worker, action="signal", args={"signal": "NONE"})
        sent = await lab.ask(key, worker, action="signal", args={"signal": "usr1"})
        record = await lab.ended(key)
        late = await lab.ask(key, worker, action="signal", args={"signal": "USR1"})
    assert (stranger["error"]["code"], unknown["error"]["code"]) == ("not_permitted", "invalid")
    assert sent.startswith("signal 10 sent to ")
    assert (record.data["returncode"], record.cancel) == (7, None)
    assert late["error"]["code"] == "not_found"
