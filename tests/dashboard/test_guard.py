"""Who is let in by a real dashboard, on every way in."""

from __future__ import annotations

import os
import socket

import pytest
from tests.dashboard.conftest import Dashboard, as_nobody
from tests.integration.stack import Stack

_FETCH = """
import sys, urllib.request, urllib.error
headers = dict(pair.split("=", 1) for pair in sys.argv[2:])
try:
    print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=headers), timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
_SHAKE = r"""
import socket, sys
host, port = sys.argv[1].split(":")
talk = socket.create_connection((host, int(port)), 30)
lines = ["GET /_stcore/stream HTTP/1.1", "Host: " + sys.argv[1], "Upgrade: websocket", "Connection: Upgrade"]
lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", *sys.argv[2:], "", ""]
talk.sendall("\r\n".join(lines).encode())
print(talk.recv(100).split(b"\r\n")[0].decode())
"""
_PATHS = (
    "/",
    "/tasks",
    "/api/tasks",
    "/metrics",
    "/api/openapi.json",
    "/_stcore/health",
    "/_stcore/host-config",
)

pytestmark = pytest.mark.timeout(600)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="platform: only root can become another account")


def handshake(dashboard: Dashboard, **headers: str) -> str:
    """The first line of the answer to the pages' websocket."""
    host, _, port = dashboard.url.removeprefix("http://").partition(":")
    lines = {
        "Host": f"{host}:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=30) as talk:
        said = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        talk.sendall(f"GET /_stcore/stream HTTP/1.1\r\n{said}\r\n".encode())
        return talk.recv(100).split(b"\r\n")[0].decode()


@needs_root
def test_another_account_sees_nothing(dashboard: Dashboard) -> None:
    """Loopback is open to everybody on this machine: what is not ours is refused on every address but health."""
    found = {path: as_nobody(_FETCH, dashboard.url + path).stdout.strip() for path in (*_PATHS, "/healthz")}
    assert found == {**dict.fromkeys(_PATHS, "403"), "/healthz": "200"}


@needs_root
def test_another_account_with_the_token_is_let_in(dashboard: Dashboard) -> None:
    """The token is what counts there; saying that one came from elsewhere counts nothing."""
    path = dashboard.url + "/api/tasks"
    assert as_nobody(_FETCH, path, f"Authorization=Bearer {dashboard.token}").stdout.strip() == "200"
    port = dashboard.url.rpartition(":")[2]
    for header in ("X-Forwarded-For=127.0.0.1", f"X-Forwarded-For=127.0.0.1:{port}", "X-Qme-Person=root"):
        assert as_nobody(_FETCH, path, header).stdout.strip() == "403"


@needs_root
def test_another_accounts_websocket_is_refused(dashboard: Dashboard) -> None:
    """The pages live on a websocket: it passes the same check."""
    assert " 403 " in as_nobody(_SHAKE, dashboard.url.removeprefix("http://")).stdout


@needs_root
def test_the_printed_address_lets_a_browser_of_another_account_in(dashboard: Dashboard) -> None:
    """Its token becomes a cookie, which opens pages and websocket."""
    answer = dashboard.get(f"/tasks?state=lost&token={dashboard.token}")
    assert (answer.status, answer.headers["location"]) == (303, "/tasks?state=lost")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert as_nobody(_FETCH, f"{dashboard.url}/tasks", f"Cookie={cookie}").stdout.strip() == "200"
    where = dashboard.url.removeprefix("http://")
    said = (f"Cookie: {cookie}", f"Origin: {dashboard.url}")
    assert " 101 " in as_nobody(_SHAKE, where, *said).stdout
    assert " 403 " in as_nobody(_SHAKE, where, said[0], "Origin: http://evil.example").stdout


@needs_root
def test_a_browser_of_our_own_account_is_known_by_a_cookie_from_its_first_page_on(
    dashboard: Dashboard,
) -> None:
    """Whose connection it is has to be looked up once only; who asks for data alone gets no cookie."""
    page = dashboard.get("/tasks", Accept="text/html")
    cookie = page.headers["set-cookie"].partition(";")[0]
    assert as_nobody(_FETCH, f"{dashboard.url}/api/tasks", f"Cookie={cookie}").stdout.strip() == "200"
    assert "set-cookie" not in dashboard.get("/api/tasks").headers
    assert "set-cookie" not in dashboard.get("/tasks", Accept="text/html", Cookie=cookie).headers


def test_the_websocket_is_for_our_own_pages(dashboard: Dashboard) -> None:
    """A page of ours may open it; another site's may not, nor one that calls us by a foreign name."""
    assert " 101 " in handshake(dashboard, Origin=dashboard.url)
    assert " 403 " in handshake(dashboard, Origin="http://evil.example")
    assert " 403 " in handshake(dashboard, Host="evil.example", Origin="http://evil.example")


def test_foreign_pages_and_names_are_refused(dashboard: Dashboard) -> None:
    """What another site's page makes a browser send changes nothing, and a foreign name reads nothing."""
    assert dashboard.get("/api/tasks", Host="evil.example").status == 421
    change = {"tasks": ["0badc0de"]}
    assert dashboard.post("/api/tasks/cancel", change, Origin="http://evil.example").status == 403
    assert dashboard.post("/api/tasks/cancel", change, Sec_Fetch_Site="cross-site").status == 403
    assert dashboard.post("/api/tasks/cancel", change, Content_Type="text/plain").status == 400
    assert dashboard.post("/api/tasks/cancel", change, Origin=dashboard.url).status == 404


def test_a_busy_port_is_said(dashboard: Dashboard, stack: Stack) -> None:
    """A second dashboard on the port says what to do, and does not take another one quietly."""
    port = dashboard.url.rpartition(":")[2]
    done = stack.qme("start", "--port", port)
    assert done.returncode == 2
    assert b"--port 0" in done.stderr
