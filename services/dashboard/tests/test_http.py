"""The HTTP interface and its guard as an ASGI application, without a bus; and the secrets on disk."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from qme.errors import SettingsError
from qme.settings import Settings
from qme_dashboard import secret
from qme_dashboard.api import Api
from qme_dashboard.guard import Guard
from qme_dashboard.hub import Hub
from qme_dashboard.openapi import document
from qme_dashboard.serving import is_loopback, listening, rules_of


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """The application, asked directly: as a stranger, or with the token."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.rules = rules_of(settings, 5000)
        routes = Api(hub, may_act=False, named=False).routes()
        self.routes = routes
        self.app = Guard(Starlette(routes=routes), self.rules)

    def ask(
        self, path: str, method: str = "GET", *, known: bool = True, body: bytes = b"", **headers: str
    ) -> Answer:
        """Ask, as one with the token unless `known` is false."""
        path, _, query = path.partition("?")
        said = {"host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if known:
            said["authorization"] = f"Bearer {self.rules.token}"
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in said.items()], "scheme": "http",
            "root_path": "", "http_version": "1.1", "server": ("127.0.0.1", 5000), "client": ("192.0.2.1", 1),
        }  # fmt: skip
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        start, *rest = sent
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], told, b"".join(part.get("body", b"") for part in rest))

    def json(self, path: str) -> Any:
        """Ask for JSON that must be there."""
        answer = self.ask(path)
        assert answer.status == 200, answer
        return json.loads(answer.body)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub that never connects."""
    made = Hub(Settings(home=tmp_path, nats_url="nats://127.0.0.1:1"))
    yield made
    made.store.close()


@pytest.fixture
def site(hub: Hub) -> Site:
    """Its site."""
    return Site(hub.settings, hub)


def test_no_route_is_open_but_health(site: Site) -> None:
    """A stranger gets the same refusal from every address, known or not, and no hint of what is there."""
    paths = [re.sub(r"{.*?}", "x", route.path) for route in site.routes] + [
        "/",
        "/_stcore/stream",
        "/static/x",
    ]
    found = {path: site.ask(path, known=False).status for path in paths}
    assert (found.pop("/healthz"), found.pop("/readyz")) == (503, 503)
    assert set(found.values()) == {403}


def test_health_tells_nothing_else(site: Site, hub: Hub) -> None:
    """Not ready while the tasks have not been read; well all the same, once it tries."""
    assert site.ask("/readyz", known=False).body == b"not ok\n"
    hub.start()
    assert site.ask("/healthz", known=False).body == b"ok\n"
    assert site.ask("/readyz", known=False).body == b"not ok\n"
    hub.close()


def test_prometheus_reads_with_its_own_token(site: Site) -> None:
    """It shows the token of the setting metrics_token, which opens /metrics and nothing else."""
    site.app = Guard(site.app._app, site.rules, "a token of Prometheus's own")
    own = "Bearer a token of Prometheus's own"
    assert b"qme_dashboard_up 0.0" in site.ask("/metrics", known=False, authorization=own).body
    assert site.ask("/api/tasks", known=False, authorization=own).status == 403
    assert site.ask("/metrics", known=False, authorization="Bearer wrong").status == 403


def test_answers_tell_browsers_what_they_may_do(site: Site) -> None:
    """Every answer, refusals too, forbids foreign scripts, frames and guesses of types."""
    for known in (True, False):
        headers = site.ask("/api/tasks", known=known).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_printed_address_leads_in_without_its_token(site: Site) -> None:
    """The token is exchanged for a cookie that scripts can't read, and the rest of the address stays."""
    answer = site.ask(f"/shell?task=x&token={site.rules.token}", known=False)
    assert (answer.status, answer.headers["location"]) == (303, "/shell?task=x")
    cookie = answer.headers["set-cookie"]
    assert site.rules.token not in cookie
    assert "HttpOnly" in cookie
    pair = cookie.partition(";")[0]
    assert site.ask("/api/executors", known=False, cookie=pair).status == 200
    assert (
        site.ask("//evil.example/?token=" + site.rules.token, known=False).headers["location"]
        == "/evil.example/"
    )


def test_nobody_can_say_who_they_are(hub: Hub) -> None:
    """The header that names the person inwards is ours; one from outside is dropped."""
    seen: list[list[tuple[bytes, bytes]]] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        seen.append([pair for pair in scope["headers"] if pair[0].lower() == b"x-qme-person"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    site = Site(hub.settings, hub)
    site.app = Guard(inside, site.rules)
    site.ask("/", x_qme_person="root", X_Qme_Person="root")
    assert seen == [[(b"x-qme-person", hub.settings.user.encode())]]


def test_until_the_tasks_are_read_there_is_no_list(site: Site) -> None:
    """An empty list would be a lie: it says what it waits for."""
    answer = site.ask("/api/tasks")
    assert answer.status == 503
    assert "not been read yet" in json.loads(answer.body)["error"]


def test_an_unknown_address_is_told_apart_from_a_page(site: Site) -> None:
    """Below /api nothing answers with a page."""
    assert site.ask("/api/nothing/there").status == 404


def test_a_form_is_refused(site: Site) -> None:
    """What another site's page could send without asking the browser is no request of ours."""
    answer = site.ask("/api/tasks/cancel", "POST", body=b'{"tasks": ["x"]}', content_type="text/plain")
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "send Content-Type: application/json")


def test_what_can_be_refused_at_once_asks_no_bus(site: Site) -> None:
    """This dashboard only shows, and has no bus: it says the former."""
    answer = site.ask("/api/tasks/cancel", "POST", body=b'{"tasks": ["x"]}', content_type="application/json")
    assert (answer.status, "--allow-actions" in json.loads(answer.body)["error"]) == (403, True)


def test_the_document_describes_the_routes_there_are(site: Site) -> None:
    """Every route stands in it with its methods, and nothing else does."""
    routes = {
        (re.sub(":str", "", route.path), method.lower())
        for route in site.routes
        for method in route.methods or ()
        if method != "HEAD" and route.path != "/api/{rest:path}"
    }
    told = {
        (path, method) for path, item in site.json("/api/openapi.json")["paths"].items() for method in item
    }
    assert told == routes
    for path, item in document()["paths"].items():
        for operation in item.values():
            named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path


def test_the_token_is_made_once_and_is_private(tmp_path: Path) -> None:
    """The second start takes the same; a file that others can read is refused."""
    settings = Settings(home=tmp_path / "new")
    token = secret.token(settings)
    path = tmp_path / "new" / secret.TOKEN
    assert len(token) >= 40
    assert (secret.token(settings), path.stat().st_mode & 0o777) == (token, 0o600)
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="others may read"):
        secret.token(settings)


def test_a_password_file_is_held_to_its_form(tmp_path: Path) -> None:
    """It has to be private, and to hold a name and a password worth the name."""
    path = tmp_path / "password"
    settings = Settings(home=tmp_path, dashboard_password=path, dashboard_auth="basic")
    path.touch(0o600)
    for wrong in ("", "ops", "ops:short", ":longenough"):
        path.write_text(wrong)
        with pytest.raises(SettingsError):
            secret.password(settings)
    path.write_text("ops:long enough\n")
    assert secret.password(settings) == "ops:long enough"
    with pytest.raises(SettingsError, match="needs dashboard_password"):
        secret.password(Settings(home=tmp_path))


def test_names_that_it_answers_to(tmp_path: Path) -> None:
    """On loopback its own names and those that were added; elsewhere the machine's, too."""
    near = rules_of(Settings(home=tmp_path, dashboard_names="ops.example, X"), 5000).names
    assert near == {"127.0.0.1", "localhost", "[::1]", "ops.example", "x"}
    far = rules_of(Settings(home=tmp_path, dashboard_host="192.0.2.7", host="login1"), 5000).names
    assert far >= {"192.0.2.7", "login1"}
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "192.0.2.7", "example")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_nobody_else_gets_the_port_whose_address_is_told(tmp_path: Path) -> None:
    """Who lies in wait on the port with a socket of their own can't begin to listen there any more."""
    with socket.socket() as waiting:
        waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        waiting.bind(("127.0.0.1", 0))
        with (
            listening(Settings(home=tmp_path, dashboard_port=waiting.getsockname()[1])),
            pytest.raises(OSError, match="in use"),
        ):
            waiting.listen()
