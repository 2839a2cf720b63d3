"""Rights on a real NATS server: what each call needs, and that a missing one is told at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.contract.conftest import open_nats, soon

from qme.bus.jetstream import JetStreamBus
from qme.bus.port import Request
from qme.bus.topology import ConsumerSpec, StreamSpec
from qme.errors import LimitReached, NotPermitted
from qme.testing.nats import NatsServer

pytestmark = pytest.mark.nats

#: a client: own inbox, one key by direct get, own requests; a worker: its consumer and keys; lost: no inbox
USERS = """
{ user: client, password: x, permissions: {
    publish: { allow: ["$JS.API.DIRECT.GET.REC.rec.shell.>", "$JS.API.DIRECT.GET.LOG", "qme.api.client.>"] }
    subscribe: { allow: ["_INBOX_client.>", "log.>"] } } }
{ user: worker, password: x, permissions: {
    publish: { allow: ["$JS.API.CONSUMER.MSG.NEXT.WORK.shell", "$JS.ACK.WORK.shell.>", "rec.shell.>",
                       "$JS.API.STREAM.MSG.GET.REC"] }
    subscribe: { allow: ["_INBOX_worker.>", "qme.action.*.shell.>"] } } }
{ user: lost, password: x, permissions: { publish: { allow: [">"] }, subscribe: { allow: ["nothing"] } } }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server with users of few rights."""
    with NatsServer(tmp_path_factory.mktemp("rights"), users=USERS) as running:
        yield running


Connect = Callable[[str], Awaitable[JetStreamBus]]


@pytest.fixture
async def connect(server: NatsServer) -> AsyncIterator[Connect]:
    """Connect as one of the users; the streams are there."""
    opened: list[JetStreamBus] = []

    async def connect(user: str) -> JetStreamBus:
        login = {} if user == "admin" else {"login": {"user": user, "password": "x"}}
        opened.append(await open_nats(server, user, **login))
        return opened[-1]

    admin = await connect("admin")
    await admin.ensure(
        [
            StreamSpec("REC", ("rec.>",), max_per_subject=1),
            StreamSpec("LOG", ("log.>",)),
            StreamSpec("WORK", ("work.>",), retention="work"),
        ]
    )
    await admin.ensure_consumer(ConsumerSpec("WORK", "shell", "work.shell.*"))
    yield connect
    for bus in opened:
        await bus.close()


async def refused(call: Awaitable[object]) -> None:
    """Expect a refusal, and within a moment."""
    begun = time.monotonic()
    with pytest.raises(NotPermitted):
        await call
    assert time.monotonic() - begun < 0.5


async def test_a_client_reads_by_key_and_by_pages_with_rights_for_just_that(connect: Connect):
    """Direct reads need no more than their own API subjects."""
    admin, client = await connect("admin"), await connect("client")
    await admin.append("rec.shell.1", b"record")
    await admin.append("log.1", b"line")
    found = await client.last("REC", "rec.shell.*")
    assert found is not None
    assert found.data == b"record"
    assert [message.data async for message in client.read("LOG")][-1] == b"line"
    async with client.follow("log.>") as live:
        await admin.append("log.1", b"live")
        message = await soon(anext(live))
    assert message is not None
    assert message.data == b"live"


async def test_what_a_client_may_not_do_is_refused_at_once(connect: Connect):
    """Every call names the missing right within a moment."""
    client = await connect("client")
    await refused(client.append("rec.shell.1", b"forged"))
    await refused(client.last("REC", "rec.slurm.1"))
    await refused(client.last("REC", "rec.shell.1", leader=True))
    await refused(anext(client.read("REC")))
    await refused(client.state("REC"))
    await refused(client.subjects("REC", ">"))
    await refused(client.purge("REC", ">"))
    await refused(client.ensure([StreamSpec("OTHER", ("other.>",))]))
    await refused(client.ensure_consumer(ConsumerSpec("LOG", "spy", "log.>")))
    await refused(client.remove_consumer("WORK", "shell"))
    await refused(client.request("qme.api.worker.submit", b"", timeout=30))
    async with client.pull("WORK", "shell", credit=lambda: 1) as queue:
        await refused(anext(queue))


async def test_a_forbidden_subject_is_refused_on_entry_however_busy_the_connection_is(connect: Connect):
    """The server's word on a subscription is waited for, behind everything that was sent before it."""
    client = await connect("client")

    async def enter() -> None:
        async with client.follow("rec.shell.>"):
            pass

    calls = [client.last("REC", f"rec.shell.{number}") for number in range(500)]
    busy = asyncio.gather(*calls)
    for _ in range(20):
        await refused(enter())
    await busy


async def test_refusals_hit_only_the_calls_they_belong_to(connect: Connect):
    """Permitted and forbidden calls side by side each get their own outcome."""
    admin, client = await connect("admin"), await connect("client")
    await admin.append("rec.shell.1", b"record")
    calls = [client.last("REC", f"rec.{'shell' if n % 2 else 'slurm'}.1") for n in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["NotPermitted", "Message"] * 10
    assert client.connected


async def test_a_worker_takes_claims_and_answers_with_a_workers_rights(connect: Connect):
    """Pull, leader read, write and service need nothing else; others' consumers and keys are refused."""
    admin, worker = await connect("admin"), await connect("worker")
    await admin.append("work.shell.1", b"task")
    async with worker.pull("WORK", "shell", credit=lambda: 1) as queue:
        delivery = await soon(anext(queue))
        await delivery.in_progress()
        await delivery.ack()
    await worker.append("rec.shell.9", b"claimed", message_id="m")
    found = await worker.last("REC", "rec.shell.9", leader=True)
    assert found is not None
    await refused(worker.append("rec.slurm.9", b"forged"))
    async with worker.pull("WORK", "slurm", credit=lambda: 1) as queue:
        await refused(anext(queue))


async def test_a_service_without_the_right_to_be_discovered_serves_all_the_same(
    connect: Connect, caplog: pytest.LogCaptureFixture
):
    """A worker may listen to its own actions only; its answers need a right of their own."""

    async def handle(request: Request) -> bytes:
        return b"done"

    worker, admin = await connect("worker"), await connect("admin")
    async with worker.serve("actions", {"qme.action.*.shell.w": handle}):
        with pytest.raises(Exception, match="no answer"):  # the test's worker may not publish into inboxes
            await admin.request("qme.action.admin.shell.w", b"", timeout=0.3)
    assert "no right to publish to _inbox_admin" in caplog.text


async def test_a_user_without_the_inbox_is_told_at_once(connect: Connect):
    """Credentials made for another name: every call says so instead of waiting for answers."""
    lost = await connect("lost")
    await refused(lost.last("REC", "rec.shell.1"))
    await refused(lost.request("qme.api.lost.x", b"", timeout=30))


async def test_headers_count_for_the_size_of_a_message(connect: Connect):
    """Payload and headers together over the limit would end the connection for good, so it is not sent."""
    admin = await connect("admin")
    with pytest.raises(LimitReached):
        await admin.append("log.x", bytes(1024 * 1024 - 10), headers={"X": "y" * 100})
    await admin.append("log.x", bytes(1024 * 1024 - 1000), headers={"X": "y" * 100})
    assert admin.connected


async def test_a_service_can_be_discovered_by_the_usual_tools(connect: Connect):
    """PING, INFO and STATS as nats micro knows them, and never into anything but an inbox."""

    async def handle(request: Request) -> bytes:
        return b"done"

    admin = await connect("admin")
    async with admin.serve("submitter", {"qme.api.*.submit": handle}, version="1.2.3"):
        await admin.request("qme.api.admin.submit", b"", timeout=2)
        ping, info, stats = [
            json.loads(await admin.request(f"$SRV.{verb}.submitter", b"", timeout=2))
            for verb in ("PING", "INFO", "STATS")
        ]
        assert (ping["name"], ping["version"]) == ("submitter", "1.2.3")
        assert ping["type"] == "io.nats.micro.v1.ping_response"
        assert info["id"] == ping["id"] == stats["id"]
        assert info["endpoints"] == [
            {"name": "submit", "subject": "qme.api.*.submit", "queue_group": "submitter", "metadata": {}}
        ]
        assert stats["endpoints"][0]["num_requests"] == 1
        client = await admin._link.ready()
        before = (await admin.state("LOG")).last
        await client.publish("$SRV.PING", b"", reply="log.forged")
        await admin._link.sync(2)
        assert (await admin.state("LOG")).last == before
