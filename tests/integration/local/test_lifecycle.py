"""The stack starts once, lives through the death of any of its parts, and ends when told."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest
from tests.integration.local import standin
from tests.integration.local.conftest import Local, command, runs, soon, until

from qme.client.connect import open_bus
from qme.errors import BusUnavailable, LocalStackError
from qme.local import ensure, ports
from qme.local.control import AlreadyRunning, down, up
from qme.local.layout import is_held, try_lock, write_state
from qme.local.plan import Program
from qme.local.stack import Endpoint
from qme.local.starting import Recipe
from qme.settings import Settings


def test_commands_at_the_same_moment_share_one_stack(local: Local) -> None:
    """Five first commands get the same address, from one server, and one of them says that it started it."""
    started = [command(local.settings.home) for _ in range(5)]
    said = [one.communicate() for one in started]
    assert {out for out, _ in said} == {f"{local.state.url} {local.pids['nats-server']}\n"}
    assert sorted(err.count("started a local stack") for _, err in said) == [0, 0, 0, 0, 1]


async def test_dead_supervisor_is_replaced_and_everything_else_lives_on(local: Local) -> None:
    """After kill -9 of the supervisor the next command takes over the same processes."""
    endpoint = await local.start()
    before, supervisor = local.pids, local.state.pid
    local.kill("supervisor")
    assert all(map(runs, before.values()))
    assert await local.start() == endpoint
    assert local.pids == before
    assert local.state.pid != supervisor
    assert "took over" in local.said[-1]


async def test_server_holds_its_store_itself(local: Local) -> None:
    """No second server can open the store while the first lives, with or without a supervisor."""
    await local.start()
    local.kill("supervisor")
    assert try_lock(local.layout.store_lock) is None
    local.kill("nats-server")
    # The server's last thread lets go of it.
    until(lambda: not is_held(local.layout.store_lock))


async def test_supervisor_that_died_before_it_wrote_down_its_server(local: Local) -> None:
    """A server that no state file tells of is found again, not started a second time."""
    endpoint = await local.start()
    server = local.pids["nats-server"]
    forgotten = [pid for name, pid in local.pids.items() if name != "nats-server"]
    local.kill("supervisor")
    local.layout.state.unlink()
    assert await local.start() == endpoint
    assert local.pids["nats-server"] == server
    # Nobody knows which address they were told, so they are started again; none is left over.
    await soon(lambda: not any(map(runs, forgotten)))


async def test_dead_server_comes_back_with_what_it_stored(local: Local) -> None:
    """After kill -9 the server is back on the same port with its streams; the services were left alone."""
    endpoint = await local.start()
    before = local.pids
    connection = await local.connect()
    stream = connection.jetstream()
    await stream.add_stream(name="KEPT", subjects=["kept"])
    await stream.publish("kept", b"this")
    local.kill("nats-server")
    await soon(lambda: local.pids["nats-server"] not in (0, before["nats-server"]) and local.status.serving)
    assert local.state.url == endpoint.url
    assert {**local.pids, "nats-server": 0} == {**before, "nats-server": 0}
    assert local.state.services[0].restarts == 1
    connection = await local.connect()
    assert (await connection.jetstream().get_last_msg("KEPT", "kept")).data == b"this"


async def test_dead_service_is_started_again(local: Local) -> None:
    """A service that ends comes back, and the status says why it ended."""
    await local.start()
    before = local.pids
    await soon(lambda: local.layout.log("worker-shell").read_text() == "here\n")
    local.kill("worker-shell")
    await soon(lambda: local.pids["worker-shell"] not in (0, before["worker-shell"]))
    shown = {service.name: service for service in local.status.services}["worker-shell"]
    assert (shown.restarts, shown.error) == (1, "ended, last saying: here")
    assert local.pids["submitter"] == before["submitter"]


async def test_port_that_somebody_took(local: Local) -> None:
    """The server moves to another port with other credentials, and the services are told."""
    endpoint = await local.start()
    before, secret = local.pids, local.layout.creds.read_text()
    supervisor = local.state.pid
    os.kill(supervisor, signal.SIGSTOP)
    local.kill("nats-server")
    until(lambda: ports.is_free(local.state.port))
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", local.state.port))
        squatter.listen()
        os.kill(supervisor, signal.SIGCONT)
        await soon(lambda: all(local.pids.values()) and not set(before.values()) & set(local.pids.values()))
        assert local.state.url != endpoint.url
        assert {service.url for service in local.state.services[1:]} == {local.state.url}
        assert await local.start() == (local.state.url, endpoint.creds)
        assert local.layout.creds.read_text() != secret
        await local.connect()


async def test_state_file_that_names_somebody_elses_process(local: Local, stranger: Popen[bytes]) -> None:
    """A pid that was used again is neither taken for a service nor signalled."""
    await local.start()
    await down(local.settings, leave=True, say=local.said.append)
    services = tuple(service._replace(pid=stranger.pid, start_time=1) for service in local.state.services)
    changed = local.state._replace(pid=stranger.pid, start_time=1, stopping=False, services=services)
    write_state(local.layout, changed)
    await local.start()
    assert stranger.pid not in local.pids.values()
    await down(local.settings, leave=True, say=local.said.append)
    assert stranger.poll() is None


@pytest.fixture
def stranger() -> Iterator[Popen[bytes]]:
    """A process that is none of the stack's."""
    with Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


async def never(_settings: Settings, _endpoint: Endpoint, check: Callable[[], None]) -> None:
    """Wait for a service that will not serve."""
    while True:
        check()
        await asyncio.sleep(0.02)


async def test_service_that_can_not_live_fails_the_start(make: Callable[..., Local]) -> None:
    """The command is told which service ends and its last words, well before its patience ends."""
    local = make()
    broken = Program("submitter", (sys.executable, "-c", "raise SystemExit('no such luck')"))
    local.recipe = Recipe(lambda _: (broken,), never)
    with pytest.raises(LocalStackError, match="submitter ended, last saying: no such luck"):
        await local.start()


async def test_server_that_died_often_is_waited_for(local: Local) -> None:
    """A stack that has served is one that comes back: a command waits for that, however often its server was killed."""
    endpoint = await local.start()
    for _ in range(3):
        await soon(lambda: local.pids["nats-server"] and ports.is_ours(local.state.port))
        local.kill("nats-server")
        await soon(lambda: not local.pids["nats-server"])
    assert local.state.services[0].failures >= 3
    assert await local.start() == endpoint


async def test_client_waits_for_a_stack_that_does_not_answer_yet(make: Callable[..., Local]) -> None:
    """It tries again until publish_retry is over, and then speaks of the local stack, not of QME_NATS_URL."""
    local = make(connect_timeout=0.2, publish_retry=0.5)
    await local.start()
    server = local.pids["nats-server"]
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(BusUnavailable, match=r"local stack does not answer.*`qme status`"):
            await open_bus(local.settings, "test")
        patient = asyncio.create_task(open_bus(replace(local.settings, publish_retry=15.0), "test"))
        await asyncio.wait({patient}, timeout=1.0)
        assert not patient.done()
    finally:
        os.kill(server, signal.SIGCONT)
    await (await patient).close()


async def test_down_of_a_stack_whose_server_never_ran(make: Callable[..., Local], tmp_path: Path) -> None:
    """There can be no tasks in it, so it is not refused."""
    program = tmp_path / "nats-server"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo nats-server: v2.12.0 || exit 1\n')
    program.chmod(0o755)
    local = make(nats_server=program)
    with pytest.raises(LocalStackError, match="nats-server"):
        await local.start()
    supervisor = local.state.pid
    assert await down(local.settings, say=local.said.append)
    assert not runs(supervisor)


async def test_down_stops_everything_and_keeps_the_store(local: Local) -> None:
    """After down nothing runs and no lock is held; the next start has the same streams at the same address."""
    endpoint = await local.start()
    connection = await local.connect()
    await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
    before = [*local.pids.values(), local.state.pid]
    assert await down(local.settings, leave=True, say=local.said.append)
    assert not any(map(runs, before))
    assert not is_held(local.layout.supervisor_lock)
    assert not local.status.running
    assert not await down(local.settings, leave=True, say=local.said.append)
    assert await local.start() == endpoint
    connection = await local.connect()
    assert (await connection.jetstream().stream_info("KEPT")).config.name == "KEPT"


async def test_down_without_a_supervisor(local: Local) -> None:
    """What a killed supervisor left behind is stopped too."""
    await local.start()
    before = local.pids
    local.kill("supervisor")
    assert await down(local.settings, leave=True, say=local.said.append)
    assert not any(map(runs, before.values()))


async def test_second_up(local: Local) -> None:
    """It is an error where the stack was to be watched, and a word where it only had to run."""
    await local.start()
    with pytest.raises(AlreadyRunning, match=f"already, pid {local.state.pid}"):
        await up(local.settings, say=local.said.append)
    await up(local.settings, detach=True, say=local.said.append)
    assert "already" in local.said[-1]


async def test_up_in_the_foreground_ends_with_what_it_started(local: Local) -> None:
    """It shows the services and their changes; a signal stops the stack."""
    watching = asyncio.create_task(up(local.settings, say=local.said.append, recipe=local.recipe))
    await soon(lambda: any("worker-shell runs" in line for line in local.said))
    before = local.pids
    local.kill("worker-shell")
    await soon(lambda: sum("worker-shell" in line for line in local.said) >= 2)
    os.kill(os.getpid(), signal.SIGINT)
    await watching
    assert not any(map(runs, before.values()))
    assert "stopped" in local.said[-1]


async def test_site_without_local_stacks(make: Callable[..., Local]) -> None:
    """Where the settings forbid it nothing is started, and the sentence says what to set."""
    local = make(embedded=False)
    with pytest.raises(BusUnavailable, match="QME_NATS_URL"):
        await ensure(local.settings)
    assert not local.settings.home.exists()


async def test_idle_stack_stops_itself(make: Callable[..., Local]) -> None:
    """Without commands, connections and tasks it ends after the setting's time."""
    local = make(idle_stop=0.8)
    await local.start()
    before = local.pids
    await soon(lambda: not any(map(runs, before.values())))
    assert local.state.stopping


@pytest.mark.parametrize("needed", ["task", "connection", "command"])
async def test_stack_that_is_needed_stays(make: Callable[..., Local], needed: str) -> None:
    """A task that has not ended, a connection or commands keep it alive."""
    local = make(idle_stop=0.8)
    local.recipe = Recipe(
        standin.services, standin.serving, standin.BUSY if needed == "task" else standin.IDLE
    )
    await local.start()
    if needed == "connection":
        await local.connect()
    begin = time.monotonic()
    while time.monotonic() < begin + 2.5:
        assert local.status.running
        if needed == "command":
            await ensure(local.settings)
        await asyncio.sleep(0.1)


async def test_second_supervisor_gives_up(local: Local) -> None:
    """A supervisor that is started by hand beside a living one ends and changes nothing."""
    await local.start()
    before = local.state
    argv = [sys.executable, "-P", "-m", "qme.local.supervisor", str(local.layout.root)]
    second = await asyncio.create_subprocess_exec(*argv)
    assert await second.wait() == 1
    assert local.state == before


async def test_services_do_not_run_in_the_first_commands_folder(local: Local, tmp_path: Path) -> None:
    """Nothing keeps that folder in use, and no module is taken from it."""
    (tmp_path / "asyncio.py").write_text("raise SystemExit('taken from the current folder')")
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        await local.start()
    finally:
        os.chdir(here)
    for pid in (*local.pids.values(), local.state.pid):
        assert Path(f"/proc/{pid}/cwd").readlink() == local.layout.root


@pytest.mark.parametrize("again", [False, True], ids=["removed", "replaced"])
async def test_stack_whose_folder_is_gone_ends(local: Local, again: bool) -> None:
    """Nothing runs on that nobody could find, and a stack that came in its place is left alone."""
    await local.start()
    before = [*local.pids.values(), local.state.pid]
    shutil.rmtree(local.settings.home)
    if again:
        await local.start()
    await soon(lambda: not any(map(runs, before)))
    assert local.settings.home.exists() == again
    assert not again or local.status.serving
