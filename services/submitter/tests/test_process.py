"""The submitter as a process: it comes up, waits for its bus, stops when told to, and says what stops it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qme.bus.jetstream import JetStreamBus
from qme.bus.kv import Bucket
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.contracts.executors import Definition, Heartbeat
from qme.contracts.messages import Results, SubmitRequest
from qme.errors import BusUnavailable, NotFound
from qme.testing.nats import PASSWORD, USER, NatsServer

from .conftest import NOW, submission

pytestmark = pytest.mark.nats


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server with nothing on it."""
    with NatsServer(tmp_path / "nats") as one:
        yield one


@contextmanager
def submitter(folder: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run a submitter as a process; its log goes to stderr as JSON."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QME_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "qme_submitter"],
        env={**kept, "QME_HOME": str(folder), "QME_LOG_FORMAT": "json", "QME_CONNECT_TIMEOUT": "0.5", **env},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], event: str) -> None:
    """Read the log up to an event."""
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(f"the submitter ended before {event}")


async def connected(server: NatsServer, user: str) -> Bus:
    """Connect to the server as a user."""
    login = {"user": USER, "password": PASSWORD}
    return await JetStreamBus.open(
        [server.url], login, user=user, name=user, connect_timeout=5.0, publish_retry=10.0
    )


async def accepted(bus: Bus, count: int, ids: list[str] | None = None) -> list[str]:
    """Submit tasks one by one, each repeated until it is answered, and give their ids, as they come, in `ids`."""
    ids = [] if ids is None else ids
    for number in range(count):
        expires = datetime.now(UTC) + timedelta(seconds=30)
        request = SubmitRequest(id="r", expires=expires, tasks=(submission("echo", str(number)),))
        where = subjects.api_subject(bus.user, "submit")
        while True:
            try:
                answer = await bus.request(where, request.model_dump_json().encode(), timeout=2.0)
                break
            except (BusUnavailable, NotFound):
                await asyncio.sleep(0.05)
        (result,) = Results.model_validate_json(answer).results
        assert result.taskid is not None, result
        ids.append(result.taskid)
    return ids


async def test_it_sets_the_bus_up_serves_and_stops_when_told(server: NatsServer, tmp_path: Path) -> None:
    """From an empty server to accepted tasks; SIGTERM ends it with 0, and its lease is free."""
    with submitter(tmp_path, QME_NATS_URL=server.url, QME_NATS_CREDS=str(server.creds)) as process:
        until(process, "submitter.ready")
        bus = await connected(server, "ann")
        shell = Definition(executor="shell", pool="u-ann", matchstring=None, account="ann", updated=NOW)
        await Bucket(bus, subjects.BUCKET_EXECUTORS, Definition).put("def.shell.u-ann", shell)
        ids = await accepted(bus, 3)
        assert len(await bus.subjects(subjects.TASKS, subjects.EVERY_QUEUE)) == len(set(ids)) == 3
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "submitter.stopped" in log
        assert "Traceback" not in log
        assert await bus.last("KV_qme_control", "$KV.qme_control.leader.janitor") is None
        await bus.close()


async def beat(bus: Bus, slots: int) -> None:
    """Send the heartbeat of a worker that runs so many tasks at a time, none of which it takes."""
    sign = Heartbeat(
        executor="shell",
        pool="u-ann",
        worker="w",
        host="h",
        pid=1,
        version="0",
        slots=slots,
        active=0,
        started=NOW,
        at=NOW,
        interval=100.0,
    )
    await Bucket(bus, subjects.BUCKET_EXECUTORS, Heartbeat).put("hb.shell.u-ann.w", sign)


async def test_kill_9_between_two_submitters_loses_nothing(server: NatsServer, tmp_path: Path) -> None:
    """While tasks come in, one of two is killed: each accepted task is there once, with its queue message."""
    address = {"QME_NATS_URL": server.url, "QME_NATS_CREDS": str(server.creds)}
    with submitter(tmp_path, **address) as one, submitter(tmp_path, **address) as other:
        until(one, "submitter.ready")
        until(other, "submitter.ready")
        bus = await connected(server, "ann")
        shell = Definition(executor="shell", pool="u-ann", matchstring=None, account="ann", updated=NOW)
        await Bucket(bus, subjects.BUCKET_EXECUTORS, Definition).put("def.shell.u-ann", shell)
        await beat(bus, slots=100)
        ids: list[str] = []
        submitting = asyncio.create_task(accepted(bus, 100, ids))
        while len(ids) < 20:  # noqa: ASYNC110 - it only grows
            await asyncio.sleep(0.001)
        one.kill()
        await submitting
        records = {subject.rsplit(".", 1)[1] for subject in await bus.subjects("KV_qme_tasks", ">")}
        assert records == {uid[-36:] for uid in ids}
        async with asyncio.timeout(30):  # what the killed one had not queued, the other's janitor queues
            while len(await bus.subjects(subjects.TASKS, ">")) < 100:  # noqa: ASYNC110 - a question to the bus
                await asyncio.sleep(0.2)
        await bus.close()


def test_it_waits_for_a_bus_that_is_not_there(tmp_path: Path) -> None:
    """It may be started before its server; told to stop meanwhile, it stops."""
    with submitter(tmp_path, QME_NATS_URL="nats://127.0.0.1:1") as process:
        until(process, "submitter.waits_for_bus")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        assert process.returncode == 0


def test_it_is_well_but_not_ready_while_it_waits_for_its_bus(tmp_path: Path) -> None:
    """Whoever watches it does not start it anew for that, and sends it no requests."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    with submitter(tmp_path, QME_NATS_URL="nats://127.0.0.1:1", QME_METRICS_PORT=str(port)) as process:
        until(process, "submitter.waits_for_bus")
        found = {}
        for path in ("healthz", "readyz"):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                    found[path] = answer.status
            except urllib.error.HTTPError as error:
                found[path] = error.code
        assert found == {"healthz": 200, "readyz": 503}


def test_refused_credentials_end_it_with_a_sentence(server: NatsServer, tmp_path: Path) -> None:
    """Trying again would not help; the exit code says that it is about rights."""
    wrong = tmp_path / "wrong.json"
    wrong.touch(0o600)
    wrong.write_text('{"user": "admin", "password": "guess"}')
    with submitter(tmp_path, QME_NATS_URL=server.url, QME_NATS_CREDS=str(wrong)) as process:
        _, log = process.communicate(timeout=20)
    assert process.returncode == 4
    assert log.splitlines()[-1].startswith("qme-submitter: ")
    assert "Traceback" not in log
