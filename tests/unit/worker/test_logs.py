"""Output on its way from the spool to the bus."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import replace

import pytest
from tests.unit.worker.lab import FaultyBus, Lab, until

from qme.contracts import subjects
from qme.contracts.output import NAMES
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome
from qme.errors import BusUnavailable, NotPermitted


async def test_lines_arrive_while_the_command_runs(lab: Lab) -> None:
    """A line reaches a reader within a third of a second of its being written."""
    late = []
    async with lab.worker(), lab.bus.follow(subjects.EVERY_LOG) as messages:
        await lab.submit("sh", "-c", "for i in 1 2 3; do date +%s.%N; sleep 0.3; done")
        for _ in range(3):
            message = await anext(messages)
            assert message is not None
            late.append(time.time() - float(message.data))
    assert max(late) < 0.3


async def test_bytes_are_the_commands_own(lab: Lab) -> None:
    """Bytes that are no text, without newline, on both streams, arrive as they are."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", r"printf 'a\000\377b'; printf 'e\200' >&2")
        record = await lab.ended(key)
    assert await lab.output(key) == b"a\0\xffb"
    assert await lab.output(key, "stderr") == b"e\x80"
    assert (record.data["output"], record.data["error"]) == (["a\0\\xffb"], ["e\\x80"])


async def test_much_output_in_little_memory(lab: Lab) -> None:
    """20 MB go through in order while another task's lines are not held up, and the worker does not grow with them."""
    size = 20_000_000
    async with lab.worker():
        await lab.ended(await lab.submit("echo", "warm"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        big = await lab.submit("sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x")
        small = await lab.submit("echo", "quick")
        await lab.ended(small)
        record = await lab.ended(big)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (record.data["output_bytes"], record.data["output_logged"]) == (size, size)
    assert len(record.model_dump_json()) < 20_000
    stored = [(offset, len(chunk)) for offset, chunk in await lab.chunks(big)]
    assert sum(length for _, length in stored) == size
    assert [offset for offset, _ in stored] == [sum(n for _, n in stored[:at]) for at in range(len(stored))]
    # The bus of this test lives in this process and keeps all of it; beyond that there is only the window.
    assert grown * 1024 < size + 25_000_000


async def test_the_limit_of_the_log_stream(lab: Lab) -> None:
    """Beyond the limit output stays in the spool; the record says how much is where."""
    limited = replace(lab.settings, log_limit=40_000)
    async with lab.worker(settings=limited):
        key = await lab.submit("sh", "-c", "head -c 100000 /dev/zero")
        record = await lab.ended(key)
        answer = await lab.ask(key, record.worker or "", action="output", args={"offset": 99_990})
    assert len(await lab.output(key)) == 40_000
    assert (record.data["output_bytes"], record.data["output_logged"]) == (100_000, 40_000)
    assert (answer["size"], len(answer["data"])) == (100_000, 16)


async def test_no_logs_at_all(lab: Lab) -> None:
    """With a limit of 0 nothing is sent, and the record still has its excerpt."""
    async with lab.worker(settings=replace(lab.settings, log_limit=0)):
        key = await lab.submit("echo", "x")
        record = await lab.ended(key)
    assert await lab.chunks(key) == []
    assert (record.data["output"], record.data["output_logged"]) == (["x\n"], 0)


@pytest.mark.parametrize("forgets", [False, True])
async def test_the_bus_is_away_for_a_while(lab: Lab, forgets: bool) -> None:
    """Output waits in the spool; nothing of it is lost or stored twice, also when the bus forgot ids meanwhile."""
    bus = FaultyBus(lab.server.connect("ann"))
    bus.forgets = forgets
    away = True

    def fault(subject: str) -> None:
        if away and subject.startswith("qme.logs"):
            raise BusUnavailable("no answer")

    async with lab.worker(bus=bus):
        bus.after = fault  # stored, and nobody heard of it
        key = await lab.submit("sh", "-c", "seq 1 500; sleep 0.3; seq 501 20000")
        folder = lab.spool.attempt(key.uuid, 1)
        await lab.record(key, lambda _: folder.read_exit())
        await asyncio.sleep(1.0)
        assert not (await lab.entry(key)).value.ended
        away = False
        record = await lab.ended(key)
    assert await lab.output(key) == b"".join(b"%d\n" % n for n in range(1, 20_001))
    assert record.outcome is Outcome.SUCCESS


async def test_logs_that_are_forbidden(lab: Lab) -> None:
    """Without the right to write logs the task still ends, and says that nothing of its output is on the bus."""
    bus = FaultyBus(lab.server.connect("ann"))

    def fault(subject: str) -> None:
        if subject.startswith("qme.logs"):
            raise NotPermitted("no")

    bus.before = fault
    async with lab.worker(bus=bus):
        key = await lab.submit("echo", "x")
        record = await lab.ended(key)
    assert (record.data["output"], record.data["output_logged"]) == (["x\n"], 0)


async def test_a_command_that_truncates_its_output(lab: Lab) -> None:
    """`> /dev/stdout` empties the file behind it: what comes later is shipped after what was."""
    async with lab.worker():
        key = await lab.submit(
            "sh", "-c", "echo first line; sleep 0.5; echo x > /dev/stdout; sleep 0.5; echo y"
        )
        await lab.ended(key)
        assert await until(lambda: lab.output(key))
    assert (await lab.output(key)).startswith(b"first line\nx\n")


async def test_a_follower_left_behind_holds_nothing_up(lab: Lab) -> None:
    """What a command leaves in the background does not delay its end."""
    async with lab.worker():
        begin = time.monotonic()
        key = await lab.submit("sh", "-c", "sleep 3 & echo done")
        record = await lab.ended(key)
    assert time.monotonic() - begin < 2.5
    assert record.data["output"] == ["done\n"]


REPLACING = {
    "stdout": (
        "echo aaaa; sleep 1; echo bbbbbbbbbbbbbbbb > /dev/stdout; echo c",
        b"aaaa\nbbbbbbbbbbbbbbbb\nc\n",
    ),
    "stderr": (
        "echo err1 >&2; sleep 1; echo err2-longer-than-the-first > /dev/stderr; echo err3 >&2",
        b"err1\nerr2-longer-than-the-first\nerr3\n",
    ),
}


@pytest.mark.parametrize("stream", REPLACING)
async def test_output_that_was_replaced_by_more(lab: Lab, stream: str) -> None:
    """What is in the file then follows whole what was shipped, and the record says that something may be lost."""
    script, whole = REPLACING[stream]
    names = NAMES[stream]
    async with lab.worker():
        key = await lab.submit("sh", "-c", script)
        record = await lab.ended(key)
    assert await lab.output(key, stream) == whole
    assert record.data[names.replaced] is True
    assert record.data[names.written] == record.data[names.logged] == len(whole)
    assert "rewrote its own output" in (record.reason or "")
    assert not any(record.data.get(NAMES[other].replaced) for other in REPLACING if other != stream)


async def test_output_that_was_replaced_by_as_much(lab: Lab) -> None:
    """As many bytes, but others; and the same once more behind the back of a worker that was restarted."""
    async with lab.worker():
        key = await lab.submit(
            "sh", "-c", "echo aa; sleep 0.6; echo bb > /dev/stdout; sleep 1; echo cc; sleep 1"
        )
        await until(lambda: lab.output(key))
        await lab.record(key, lambda _: b"bb" in lab.spool.attempt(key.uuid, 1).stdout.read_bytes())
        await until(lambda: _has(lab, key, b"bb"))
    async with lab.worker():
        record = await lab.ended(key)
    assert await lab.output(key) == b"aa\nbb\ncc\n"
    assert record.data["output_replaced"] is True


async def test_appending_replaces_nothing(lab: Lab) -> None:
    """`>> /dev/stderr` and `>&2` are safe, and leave no word in the record."""
    async with lab.worker():
        key = await lab.submit(
            "sh", "-c", "echo a >&2; sleep 0.5; echo b >> /dev/stderr; sleep 0.5; echo c >&2"
        )
        record = await lab.ended(key)
    assert await lab.output(key, "stderr") == b"a\nb\nc\n"
    assert "error_replaced" not in record.data
    assert record.reason is None


async def _has(lab: Lab, key: TaskKey, text: bytes) -> bool:
    return text in await lab.output(key)
