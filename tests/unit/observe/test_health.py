"""The page of a service: who is told what."""

import asyncio
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from qme.errors import SettingsError
from qme.observe import health, peer
from qme.observe.health import AT_ONCE, Page, Pulse, read_token, serve, shown
from qme.observe.metrics import WorkerMetrics

NOBODY = 65_534


def yes() -> bool:
    """All is well."""
    return True


def no() -> bool:
    """It is not."""
    return False


def broken() -> bool:
    """The check itself fails."""
    raise RuntimeError("nats://ann:hunter2@hub")


def page(
    healthy: Callable[[], bool] = yes, ready: Callable[[], bool] = yes, token: str | None = None
) -> Page:
    """A worker's page."""
    registry = CollectorRegistry()
    WorkerMetrics(registry, "shell", 2)
    return Page(registry, healthy, ready, token)


def get(port: int, path: str, authorization: str | None = None) -> tuple[int, str]:
    """Ask as this account; gives status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": authorization} if authorization else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("check", "answer"), [(yes, (200, "ok\n")), (no, (503, "not ok\n")), (broken, (503, "not ok\n"))]
)
def test_healthz_and_readyz_say_ok_or_not_and_nothing_else(
    check: Callable[[], bool], answer: tuple[int, str]
) -> None:
    """They are open to anybody, so they say nothing that anybody may not know."""
    with serve(page(healthy=check), 0) as port:
        assert (get(port, "/healthz?x=1"), get(port, "/readyz")) == (answer, (200, "ok\n"))
    with serve(page(ready=check), 0) as port:
        assert (get(port, "/healthz"), get(port, "/readyz")) == ((200, "ok\n"), answer)


def test_metrics_are_served_to_our_own_account() -> None:
    """A Prometheus of the same account needs no token."""
    with serve(page(), 0) as port:
        status, body = get(port, "/metrics")
    assert status == 200
    assert 'qme_worker_slots{executor="shell"} 2.0' in body


@pytest.mark.parametrize(
    ("token", "authorization", "status"),
    [
        (None, None, 403),
        (None, "Bearer ", 403),
        ("s3cret", None, 403),
        ("s3cret", "Bearer wrong", 403),
        ("s3cret", "Basic s3cret", 403),
        ("s3cret", "Bearer s3cret", 200),
    ],
)
def test_another_account_needs_the_token(
    token: str | None, authorization: str | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback is no proof of anything on a machine that many people use."""
    monkeypatch.setattr("qme.observe.health.peer_uid", lambda _connection: NOBODY)
    with serve(page(token=token), 0) as port:
        assert get(port, "/metrics", authorization)[0] == status


def test_a_wrong_token_is_refused_even_from_our_own_account() -> None:
    """Who brings a token is judged by it: a mistake in a scrape config shows at once."""
    with serve(page(token="s3cret"), 0) as port:
        assert get(port, "/metrics", "Bearer wrong")[0] == 403


@pytest.mark.skipif(os.getuid() != 0, reason="platform: only root can become another account")
def test_a_real_other_account_is_told_apart() -> None:
    """The kernel says who connected, whatever the request claims."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("platform: no Python that every account may run")
    program = (
        "import http.client, sys\n"
        "connection = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=10)\n"
        "connection.request('GET', '/metrics'); print(connection.getresponse().status)"
    )
    with serve(page(), 0) as port:
        done = subprocess.run(
            [python, "-c", program, str(port)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.stdout == "403\n", done.stderr


@pytest.mark.parametrize(
    ("family", "bind", "connect"),
    [
        (socket.AF_INET, "127.0.0.1", (socket.AF_INET, "127.0.0.1")),
        (socket.AF_INET6, "::1", (socket.AF_INET6, "::1")),
        (socket.AF_INET6, "::", (socket.AF_INET, "127.0.0.1")),
    ],
    ids=["IPv4", "IPv6", "IPv4 on a socket for both"],
)
def test_the_peer_is_found_in_each_kind_of_address(family: int, bind: str, connect: tuple[int, str]) -> None:
    """The kernel's tables spell addresses in three ways."""
    try:
        listener = socket.create_server((bind, 0), family=family, dualstack_ipv6=bind == "::")
    except OSError:
        pytest.skip("platform: no IPv6 here")
    with listener, socket.socket(connect[0]) as client:
        client.connect((connect[1], listener.getsockname()[1]))
        served, _ = listener.accept()
        with served:
            assert peer.peer_uid(served) == os.getuid()


def test_a_connection_that_has_ended_belongs_to_nobody() -> None:
    """The kernel shows a closing socket as root's: it must not count as ours when we are root."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
        client.close()
        with served:
            assert served.recv(1) == b""
            assert peer.peer_uid(served) is None


@pytest.mark.skipif(os.getuid() != 0, reason="platform: only root can mount another /proc")
def test_our_own_account_is_known_under_a_hardened_proc() -> None:
    """Units are shipped with ProcSubset=pid and ProtectProc=invisible, which leave no /proc/net."""
    program = (
        "import os, socket\n"
        "from qme.observe.peer import peer_uid\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(listener.getsockname())\n"
        "served, _ = listener.accept()\n"
        "print(os.path.exists('/proc/net'), peer_uid(served) == os.getuid())"
    )
    mount = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, sys.executable, program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode and not done.stdout and "mount" in done.stderr:
        pytest.skip(f"platform: no such /proc can be mounted here: {done.stderr.strip()}")
    assert done.stdout == "False True\n", done.stderr


def test_idle_connections_leave_room_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any account may open thousands and say next to nothing: the oldest are ended, threads stay few."""
    monkeypatch.setattr(health._Handler, "timeout", 600.0)  # who says a byte now and then is not found by it
    with serve(page(), 0) as port, contextlib.ExitStack() as ending:
        idle = [
            ending.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(AT_ONCE * 2)
        ]
        assert get(port, "/healthz")[0] == 200
        assert [client.recv(1) for client in idle[: AT_ONCE // 2]] == [b""] * (AT_ONCE // 2)


def test_unknown_paths_are_not_found() -> None:
    """And name what there is."""
    with serve(page(), 0) as port:
        assert get(port, "/tasks") == (404, "/healthz /readyz /metrics\n")


def test_a_port_in_use_is_one_line() -> None:
    """Exit code 2, with the setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                SettingsError, match=f"^metrics_port: cannot listen on 127.0.0.1:{port}: Address already"
            ),
            serve(page(), port),
        ):
            pass


def test_nothing_is_left_behind() -> None:
    """The port is free again and the thread has ended."""
    with serve(page(), 0) as port:
        assert get(port, "/healthz")[0] == 200
    assert "health" not in {thread.name for thread in threading.enumerate()}
    with serve(page(), port):
        pass


def test_a_peer_that_hangs_up_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Port scanners and impatient probes are nobody's news."""
    with serve(page(), 0) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        assert get(port, "/healthz")[0] == 200
    assert capfd.readouterr().err == ""


async def test_a_service_that_stands_still_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event loop has not turned for long: whoever watches it starts it anew."""
    clock = [0.0]
    pulse = Pulse(lambda: clock[0])
    beating = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0)
    clock[0] += 59
    assert pulse.beats()
    clock[0] += 2
    assert not pulse.beats()
    beating.cancel()


async def test_a_service_shows_its_version_and_itself(tmp_path: Path) -> None:
    """While it works, and to who has the token of the file; without a port it shows nothing."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o640)
    async with shown("worker", CollectorRegistry(), no, port=0, token_file=tmp_path / "none") as port:
        assert port is None
    free = socket.create_server(("127.0.0.1", 0))
    wanted = free.getsockname()[1]
    free.close()
    async with shown("worker", CollectorRegistry(), no, port=wanted, token_file=token) as port:
        assert port == wanted
        asked = [
            await asyncio.to_thread(get, wanted, path, "Bearer 0123456789abcdef")
            for path in ("/healthz", "/readyz", "/metrics")
        ]
    assert [status for status, _ in asked] == [200, 503, 200]
    assert 'qme_build_info{service="worker",version="' in asked[2][1]


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("0123456789abcdef", 0o644, "anybody may read"),
        ("short", 0o600, "has to hold 16 characters or more"),
        (None, 0, "can't be read"),
    ],
)
def test_a_token_that_protects_nothing_is_refused(
    text: str | None, mode: int, problem: str, tmp_path: Path
) -> None:
    """One line, with the file."""
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(SettingsError, match=problem):
        read_token(path)
