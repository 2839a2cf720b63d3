"""A dashboard behind a real nginx, configured as docs/dashboard.md says: who gets in, as whom, and who does not."""

from __future__ import annotations

import base64
import getpass
import http.client
import json
import re
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from tests.dashboard.browsing import CHROMIUM
from tests.dashboard.conftest import PATIENCE, Answer, Dashboard, until
from tests.dashboard.proxy import NAME, Proxy
from tests.integration.stack import Stack

from qme import Queue

#: who is known to the proxy, and to the dashboard itself
OWNER = getpass.getuser()
PEOPLE = {OWNER: "correct horse", "bob": "battery staple"}
PASSWORD = "ops:one for all of us"
_HANDSHAKE = {
    "Upgrade": "websocket", "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
}  # fmt: skip

pytestmark = pytest.mark.timeout(600)


class Site:
    """A dashboard with a proxy before it."""

    def __init__(self, dashboard: Dashboard, proxy: Proxy) -> None:
        self.dashboard = dashboard
        self.proxy = proxy

    def ask(
        self, path: str, who: str | None, method: str = "GET", body: Any = None, **headers: str
    ) -> Answer:
        """Ask through the proxy with name and password, as a browser on the site's own pages does."""
        said = {
            "Host": f"{NAME}:{self.proxy.port}",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        if who is not None:
            said["Authorization"] = "Basic " + base64.b64encode(who.encode()).decode()
        if body is not None:
            said.setdefault("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=self.proxy.certificate)
        context.check_hostname = False  # it is asked by its number
        talk = http.client.HTTPSConnection("127.0.0.1", self.proxy.port, timeout=PATIENCE, context=context)
        try:
            talk.request(method, path, None if body is None else json.dumps(body), said)
            answer = talk.getresponse()
            return Answer(
                answer.status, b"" if answer.status == 101 else answer.read(), dict(answer.getheaders())
            )
        finally:
            talk.close()

    def shakes(self, who: str | None, **headers: str) -> int:
        """Ask for the pages' websocket and give the status."""
        origin = {"Origin": self.proxy.url}
        return self.ask("/_stcore/stream", who, **{**_HANDSHAKE, **origin, **headers}).status


def _said(name: str) -> str:
    return f"{name}:{PEOPLE[name]}"


@pytest.fixture(scope="module")
def sites(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """One whose proxy knows people, and one that asks for a password itself."""
    password = tmp_path_factory.mktemp("password") / "password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    names = {"QME_DASHBOARD_NAMES": NAME}
    begun = (
        Dashboard(stack, "--allow-actions", QME_DASHBOARD_AUTH="proxy", **names),
        Dashboard(stack, QME_DASHBOARD_AUTH="basic", QME_DASHBOARD_PASSWORD=str(password), **names),
    )
    made = []
    for dashboard, people in zip(begun, (PEOPLE, {}), strict=True):
        dashboard.ready()
        proxy = Proxy(
            tmp_path_factory.mktemp("nginx"), stack.home, dashboard.url.removeprefix("http://"), people
        )
        proxy.start()
        made.append(Site(dashboard, proxy))
    yield made[0], made[1]
    for site in made:
        site.proxy.close()
        site.dashboard.close()


@pytest.fixture(scope="module")
def site(sites: tuple[Site, Site]) -> Site:
    """The one whose proxy knows people."""
    return sites[0]


def _as_bob(site: Site, uid: str, **headers: str) -> dict[str, Any]:
    """What bob is told who wants to end a task of ours."""
    answer = site.ask("/api/tasks/cancel", _said("bob"), "POST", {"tasks": [uid]}, **headers)
    assert answer.status == 200, answer
    result: dict[str, Any] = answer.json()["results"][0]
    return result


def test_each_person_has_their_own_rights_whatever_their_browser_sends(site: Site, queue: Queue) -> None:
    """The proxy says who it is: bob can't end another's task, under no name that he sends; its owner can."""
    uid = queue.submit("sleep 300").taskid
    forged = {"X_Forwarded_User": OWNER, "X_Qme_Person": OWNER, "X_Qme_Token": "x"}
    for headers in ({}, forged):
        refused = _as_bob(site, uid, **headers)
        assert (refused["ok"], f"is {OWNER}'s" in refused["said"]) == (False, True), refused
    assert queue.get(uid).record.cancel is None
    done = site.ask("/api/tasks/cancel", _said(OWNER), "POST", {"tasks": [uid]})
    assert done.json()["results"][0]["ok"]
    until(lambda: queue.get(uid).record.outcome == "cancelled")
    trail = until(lambda: [line["by"] for line in site.ask(f"/api/tasks/{uid}/events", _said("bob")).json()])
    assert "bob" not in trail


@pytest.mark.parametrize(
    "path", ["/", "/tasks", "/api/tasks", "/metrics", "/_stcore/health", "/api/openapi.json"]
)
def test_nobody_gets_past_the_proxy(site: Site, path: str) -> None:
    """Without name and password it is the proxy that refuses; who goes around it is refused whatever they send."""
    assert (site.ask(path, None).status, site.ask(path, "bob:wrong").status) == (401, 401)
    host = {"Host": NAME}
    assert site.dashboard.get(path, **host).status == 403
    forged = {"X_Forwarded_User": OWNER, "X_Qme_Token": "x", "X_Forwarded_For": "127.0.0.1"}
    assert site.dashboard.get(path, **host, **forged).status == 403


def test_the_websocket_passes_and_only_our_pages_may_open_it(site: Site) -> None:
    """Pages live on it: it is upgraded through the proxy, asks for the password too, and knows its own site."""
    assert site.shakes(_said("bob")) == 101
    assert site.shakes(None) == 401
    assert site.shakes(_said("bob"), Origin="https://evil.example") == 403
    assert site.shakes(_said("bob"), Origin=f"https://{NAME}") == 403  # another port is another site
    assert site.shakes(_said("bob"), Host="evil.example", Origin="https://evil.example") == 403


def test_another_sites_page_changes_nothing_with_the_password_of_its_visitor(site: Site) -> None:
    """Browsers send a password that they know to whoever asks: where the request came from counts."""
    who, change = _said(OWNER), {"tasks": ["0badc0de"]}
    path = "/api/tasks/cancel"
    assert site.ask(path, who, "POST", change, Origin=site.proxy.url).status == 404
    assert site.ask(path, who, "POST", change, Origin="https://evil.example").status == 403
    assert site.ask(path, who, "POST", change, Sec_Fetch_Site="cross-site").status == 403
    assert site.ask(path, who, "POST", change, Content_Type="text/plain").status == 400
    assert site.ask("/api/tasks", who, Host="evil.example").status == 421


def test_a_password_of_the_dashboards_own_behind_a_proxy(sites: tuple[Site, Site]) -> None:
    """With basic it is the dashboard that asks, for pages, data and websocket, and around the proxy as well."""
    _, site = sites
    for path in ("/", "/api/tasks", "/metrics"):
        found = (
            site.ask(path, None).status,
            site.ask(path, "ops:wrong").status,
            site.ask(path, PASSWORD).status,
        )
        assert found == (401, 401, 200), path
    assert (site.shakes(None), site.shakes(PASSWORD)) == (403, 101)
    assert site.shakes(PASSWORD, Origin="https://evil.example") == 403
    assert site.dashboard.get("/api/tasks").status == 401
    assert site.dashboard.get("/api/tasks", X_Forwarded_User=OWNER, X_Qme_Token="x").status == 401


def test_a_browser_behind_the_proxy_shows_live_pages_to_the_person(site: Site, queue: Queue) -> None:
    """A real browser, over TLS and by the site's name: a task comes up live, for the one who gave the password."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM["executable_path"],
            args=[*CHROMIUM["args"], f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
        )
        context = browser.new_context(
            ignore_https_errors=True,
            http_credentials={"username": "bob", "password": PEOPLE["bob"]},
            extra_http_headers={"X-Forwarded-User": OWNER},
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{site.proxy.url}/tasks?q=behind-the-proxy")
        page.get_by_text("No task fits these filters").wait_for()
        page.get_by_text(re.compile(r"^bob · qme")).wait_for()
        queue.submit("echo behind-the-proxy")
        page.locator("[role=gridcell]", has_text="behind-the-proxy").first.wait_for(state="attached")
        browser.close()
