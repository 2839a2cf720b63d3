"""What callers notice of a NATS server that dies, freezes or throws them out: nothing but time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.conftest import open_nats, soon, until

from qme.bus.jetstream import JetStreamBus
from qme.bus.jetstream_parts import Unanswered
from qme.bus.jetstream_read import PAGE_MESSAGES
from qme.bus.port import Ack, Expect, Request
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.errors import BusUnavailable, Conflict
from qme.testing.fixtures import own_nats_server  # noqa: F401 - a fixture
from qme.testing.nats import NatsServer

pytestmark = pytest.mark.nats


@pytest.fixture
def server(own_nats_server: NatsServer) -> NatsServer:  # noqa: F811 - the fixture
    """A server that this test may break."""
    return own_nats_server


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[JetStreamBus]:
    """A patient connection to it, with a stream, a bucket and a work queue."""
    connection = await open_nats(server, "ann", publish_retry=15.0)
    await connection.ensure(
        [
            StreamSpec("LOG", ("log.>",)),
            StreamSpec("KV", ("kv.>",), max_per_subject=1, message_ttl=True),
            StreamSpec("WORK", ("work.>",), retention="work"),
        ]
    )
    await connection.ensure_consumer(ConsumerSpec("WORK", "worker", "work.*", ack_wait=1.0))
    yield connection
    await connection.close()


async def restart(server: NatsServer, away: float = 0.5) -> None:
    """Kill the server, and start it again after a while."""
    server.kill()
    await asyncio.sleep(away)
    await asyncio.to_thread(server.start)


async def throw_out(bus: JetStreamBus) -> None:
    """Let the server end the connection in the way after which nats-py's client is closed for good."""
    client = await bus._link.ready()
    assert client._transport is not None
    client._transport.write(b"NONSENSE\r\n")
    await until(lambda: client.is_closed)


INTERRUPTIONS: list[Any] = [pytest.param(restart, id="killed"), pytest.param(throw_out, id="thrown out")]


async def interrupt(how: Any, server: NatsServer, bus: JetStreamBus) -> None:
    """Interrupt the connection and wait until it is there again."""
    await (how(server) if how is restart else how(bus))
    await until(lambda: bus.connected, 10)


async def test_no_append_is_lost_or_stored_twice_when_the_server_is_killed(
    server: NatsServer, bus: JetStreamBus
):
    """Appends under way through three kills all succeed, and each is there once."""
    acks: list[Ack] = []

    async def write(number: int) -> None:
        for part in range(40):
            acks.append(await bus.append("log.x", f"{number}.{part}".encode()))

    writers = asyncio.gather(*(write(number) for number in range(10)))
    for _ in range(3):
        await asyncio.sleep(0.03)
        await restart(server, 0.1)
    await soon(writers, 30)
    stored = [message.data async for message in bus.read("LOG")]
    assert sorted(stored) == sorted(f"{n}.{p}".encode() for n in range(10) for p in range(40))
    assert len({ack.seq for ack in acks}) == 400


async def test_a_chain_of_updates_does_not_conflict_with_itself_when_the_server_is_killed(
    server: NatsServer, bus: JetStreamBus
):
    """Compare-and-sets of a single writer never conflict, whichever answers are lost."""

    async def count() -> int:
        revision = 0
        for number in range(300):
            revision = (await bus.append("kv.x", b"%d" % number, expect=Expect(revision))).seq
        return revision

    counting = asyncio.create_task(count())
    for _ in range(2):
        await asyncio.sleep(0.05)
        await restart(server, 0.1)
    assert await soon(counting, 30) == 300


async def test_a_lost_answer_does_not_make_an_append_conflict_with_itself(bus: JetStreamBus):
    """The server checks the expectation before the id; the append looks whether the message is its own."""
    real = bus._link.ask
    lost = 0

    async def lossy(subject: str, *arguments: Any, **named: Any) -> Any:
        nonlocal lost
        answer = await real(subject, *arguments, **named)
        if subject == "kv.x" and lost < 2:
            lost += 1
            raise Unanswered
        return answer

    bus._link.ask = lossy  # type: ignore[method-assign]
    assert await bus.append("kv.x", b"1", expect=Expect(0)) == Ack(1)
    assert lost == 2
    with pytest.raises(Conflict):
        await bus.append("kv.x", b"2", expect=Expect(0))
    assert await bus.append("kv.x", b"3", expect=Expect(1)) == Ack(2)


async def test_a_message_that_is_about_to_be_stored_is_waited_for(bus: JetStreamBus):
    """Three nodes refuse the repetition of what they have not agreed on yet; whoever repeats it waits."""
    real = bus._link.ask
    said: list[str] = []

    async def slow(subject: str, *arguments: Any, **named: Any) -> Any:
        answer = await real(subject, *arguments, **named)
        if subject == "log.x" and not said:
            said.append("nothing")
            raise Unanswered
        if subject == "log.x" and len(said) < 3:
            said.append("under way")
            error = {"code": 409, "err_code": 10158, "description": "duplicate message id is in process"}
            answer.data = json.dumps({"error": error, "stream": "LOG"}).encode()
        return answer

    bus._link.ask = slow  # type: ignore[method-assign]
    assert await bus.append("log.x", b"1", message_id="one") == Ack(1)
    assert said == ["nothing", "under way", "under way"]
    assert [message.data async for message in bus.read("LOG")] == [b"1"]


async def test_reading_goes_on_where_it_was_when_the_server_is_killed(server: NatsServer, bus: JetStreamBus):
    """Pages before and after the restart join without gap or repeat."""
    for _ in range(3):
        await asyncio.gather(*(bus.append("log.x", b"") for _ in range(PAGE_MESSAGES // 2 + 10)))
    seen = []
    async for message in bus.read("LOG"):
        seen.append(message.seq)
        if len(seen) == 5:
            await restart(server, 0.1)
    assert seen == list(range(1, 3 * (PAGE_MESSAGES // 2 + 10) + 1))


async def test_a_server_that_is_too_slow_for_a_page_is_asked_for_less(bus: JetStreamBus) -> None:
    """Pages that don't come in time get smaller until they do, and grow again; nothing is missed or read twice."""
    sent = [b"%d" % number for number in range(600)]
    for some in range(0, len(sent), 100):
        await asyncio.gather(*(bus.append(f"log.{n.decode()}", n) for n in sent[some : some + 100]))
    ask, pages = bus._link.ask, []

    async def slow(subject: str, data: bytes = b"", **options: Any) -> Any:
        if options.get("parts") is not None:
            pages.append(json.loads(data)["batch"])
            if pages[-1] > 200 and len(pages) < 6:
                raise Unanswered("it takes its time")
        return await ask(subject, data, **options)

    bus._link.ask = slow  # type: ignore[method-assign]
    assert sorted([message.data async for message in bus.read("LOG")]) == sorted(sent)
    assert pages[:4] == [PAGE_MESSAGES, PAGE_MESSAGES // 4, PAGE_MESSAGES // 16, PAGE_MESSAGES // 8]


@pytest.mark.parametrize("how", INTERRUPTIONS)
async def test_a_follower_is_told_to_read_again_and_follows_on(
    how: Any, server: NatsServer, bus: JetStreamBus
):
    """None stands for what may have been missed."""
    async with bus.follow("log.>") as live:
        await bus.append("log.x", b"before")
        assert (await soon(anext(live))) is not None
        await interrupt(how, server, bus)
        assert await soon(anext(live)) is None
        await bus.append("log.x", b"after")
        after = await soon(anext(live))
    assert after is not None
    assert after.data == b"after"


@pytest.mark.parametrize("how", INTERRUPTIONS)
async def test_a_pull_resumes_within_two_seconds(how: Any, server: NatsServer, bus: JetStreamBus):
    """A task that is queued after the server came back starts soon."""
    async with bus.pull("WORK", "worker", credit=lambda: 2) as queue:
        await bus.append("work.x", b"before")
        await (await soon(anext(queue))).ack()
        await interrupt(how, server, bus)
        begun = time.monotonic()
        await bus.append("work.x", b"after")
        while (delivery := await soon(anext(queue))).message.data != b"after":
            await delivery.ack()  # the first acknowledgement need not have arrived
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize("how", INTERRUPTIONS)
async def test_a_service_answers_again(how: Any, server: NatsServer, bus: JetStreamBus):
    """Requests work as before, from both ends that were interrupted."""

    async def echo(request: Request) -> bytes:
        return request.data

    async with bus.serve("echo", {"qme.api.*.echo": echo}):
        assert await bus.request("qme.api.ann.echo", b"1", timeout=2) == b"1"
        await interrupt(how, server, bus)
        assert await bus.request("qme.api.ann.echo", b"2", timeout=5) == b"2"


async def test_a_message_taken_before_a_kill_comes_again_and_a_late_ack_does_no_harm(
    server: NatsServer, bus: JetStreamBus
):
    """A crash hands unacknowledged work out again, at once or after its wait: only a claim protects."""
    async with bus.pull("WORK", "worker", credit=lambda: 1) as queue:
        await bus.append("work.x", b"1")
        first = await soon(anext(queue))
        await restart(server, 0.1)
        again = await soon(anext(queue), 10)
        assert again.message.seq == first.message.seq
        await again.ack()
        await first.ack()
        await bus.append("work.x", b"2")
        assert (await soon(anext(queue))).message.data == b"2"


async def test_calls_run_out_of_patience_while_the_server_is_away(server: NatsServer, bus: JetStreamBus):
    """BusUnavailable after publish_retry; the same call works when the server is back."""
    hasty = await open_nats(server, "bob", publish_retry=0.5)
    server.kill()
    begun = time.monotonic()
    for call in (hasty.append("log.x", b""), hasty.last("LOG", "log.x"), hasty.state("LOG")):
        with pytest.raises(BusUnavailable):
            await call
    with pytest.raises(BusUnavailable):
        await hasty.request("qme.api.bob.x", b"", timeout=0.2)
    assert time.monotonic() - begun < 4
    assert not hasty.connected
    await asyncio.to_thread(server.start)
    patient = await soon(bus.append("log.x", b"again"), 10)
    assert patient.seq == 1
    await hasty.close()


async def test_closing_without_a_server_is_quick_and_raises_nothing(server: NatsServer):
    """A program can always end."""
    bus = await open_nats(server, "bob")
    async with bus.follow("x"):
        server.kill()
        async with asyncio.timeout(4):
            await bus.close()
    assert not bus.connected


async def test_a_frozen_server_is_noticed_and_calls_survive_a_short_freeze(server: NatsServer):
    """Half-open connections are given up after a few pings; what is asked meanwhile is repeated."""
    bus = await open_nats(server, "ann", publish_retry=15.0, ping_interval=0.2)
    await bus.ensure([StreamSpec("LOG", ("log.>",))])
    server.pause()
    try:
        waiting = asyncio.create_task(bus.append("log.x", b"1"))
        await until(lambda: not bus.connected)
    finally:
        server.resume()
    assert (await soon(waiting, 10)).seq == 1
    assert [message.data async for message in bus.read("LOG")] == [b"1"]
    await bus.close()


async def test_a_client_that_is_closed_for_good_is_replaced(bus: JetStreamBus):
    """Appends under way and later ones go through."""
    waiting = [asyncio.create_task(bus.append("log.x", b"%d" % number)) for number in range(20)]
    await throw_out(bus)
    await soon(asyncio.gather(*waiting), 10)
    await soon(bus.append("log.x", b"after"))
    assert len([message async for message in bus.read("LOG")]) == 21


# nats-py leaves the sockets of refused tries to the garbage collector, which closes them with a warning.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_withdrawn_credentials_are_waited_for(server: NatsServer):
    """A user that is removed and added again needs no restart of anything."""
    bob = "{ user: bob, password: bob }"
    server.reload(bob)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(Exception):
                bus = await open_nats(
                    server, "bob", login={"user": "bob", "password": "bob"}, publish_retry=1.0
                )
                break
            await asyncio.sleep(0.05)
    await bus.ensure([StreamSpec("LOG", ("log.>",))])
    server.reload("")
    await until(lambda: not bus.connected)
    with pytest.raises(BusUnavailable):
        await bus.append("log.x", b"")
    server.reload(bob)
    await until(lambda: bus.connected, 10)
    assert (await bus.append("log.x", b"")).seq == 1
    await bus.close()
