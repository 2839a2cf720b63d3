"""A real stack with two dashboards on it: one that may change tasks, and one that only shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.dashboard.browsing import CHROMIUM
from tests.integration.stack import Stack

from qme import Queue
from qme.settings import Settings

T = TypeVar("T")

collect_ignore = [] if os.environ.get("QME_TEST_ALL") else ["test_starved.py"]

#: seconds that anything may take on a machine with much else to do
PATIENCE = 150.0


def until(look: Callable[[], T], patience: float = PATIENCE) -> T:
    """Look until there is something, and give it."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {patience:g} s: {look}"
        time.sleep(0.1)
    return found


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        """Read it."""
        return json.loads(self.body)


class Dashboard:
    """A `qme start` of its own process, and a client of it."""

    def __init__(self, stack: Stack, *options: str, **env: str) -> None:
        self._process = stack.start("start", "--port", "0", *options, env=env)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def ready(self) -> Dashboard:
        """Wait until it shows the tasks."""
        address = until(lambda: re.search(r"is at (http://\S+)/(\?token=(\S+))?\n", "".join(self.said)))
        assert address is not None
        self.url, self.token = address[1], address[3] or ""
        until(lambda: self.get("/readyz").status == 200)
        return self

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.said.append(line.decode())

    def get(self, path: str, **headers: str) -> Answer:
        """Ask, as a process of our own account."""
        return self._send(urllib.request.Request(self.url + path, headers=_spelled(headers)))

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Ask for a change."""
        said = {"Content-Type": "application/json", **_spelled(headers)}
        data = json.dumps(body).encode()
        return self._send(urllib.request.Request(self.url + path, data, said, method="POST"))

    def tasks(self, query: str = "") -> list[dict[str, Any]]:
        """List tasks."""
        answer = self.get(f"/api/tasks{query}")
        assert answer.status == 200, answer
        found: list[dict[str, Any]] = answer.json()["tasks"]
        return found

    def shows(self, uid: str, **fields: Any) -> dict[str, Any]:
        """Wait until the list shows a task as it should be, and give that."""

        def look() -> list[dict[str, Any]]:
            rows = self.tasks(f"?q={uid}")
            return [row for row in rows if all(row[name] == value for name, value in fields.items())]

        return until(look)[0]

    def close(self) -> None:
        """End it; it has to go at once."""
        self._process.terminate()
        assert self._process.wait(PATIENCE) in (0, -15, 143)
        self._reader.join(PATIENCE)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _send(self, request: urllib.request.Request) -> Answer:
        try:
            with _OPENER.open(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))
        except OSError as error:
            return Answer(0, str(error).encode(), {})


class _Stay(urllib.request.HTTPRedirectHandler):
    """Shows where it would be led to, and stays."""

    def redirect_request(self, *_: Any) -> None:
        """Say no."""


_OPENER = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


def _spelled(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One local stack for the whole run, ended with everything in it."""
    running = Stack(tmp_path_factory.mktemp("qme-home"))
    running.ok("up", "--detach")
    yield running
    running.qme("down", "--cancel")


@pytest.fixture(scope="session")
def queue(stack: Stack) -> Iterator[Queue]:
    """The same stack from within: a task costs no new process."""
    with Queue(Settings(home=stack.home)) as made:
        yield made


@pytest.fixture(scope="session")
def dashboards(stack: Stack) -> Iterator[tuple[Dashboard, Dashboard]]:
    """Both, since they start side by side in the time of one."""
    both = Dashboard(stack, "--allow-actions"), Dashboard(stack)
    yield both[0].ready(), both[1].ready()
    for one in both:
        one.close()


@pytest.fixture(scope="session")
def dashboard(dashboards: tuple[Dashboard, Dashboard]) -> Dashboard:
    """The one that may change tasks."""
    return dashboards[0]


@pytest.fixture(scope="session")
def reading(dashboards: tuple[Dashboard, Dashboard]) -> Dashboard:
    """The one that only shows."""
    return dashboards[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Ended with each file: while it lives, this thread has an event loop that others trip over."""
    if CHROMIUM["executable_path"] is None:
        pytest.skip("no chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**CHROMIUM)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new tab of a new visitor; at its end nothing must have gone wrong in it, nor any other host been asked."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    made = context.new_page()
    made.set_default_timeout(PATIENCE * 1000)
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
    made.on("request", lambda request: problems.append(request.url) if _is_foreign(request.url) else None)
    yield made
    context.close()
    assert problems == []


def _is_foreign(url: str) -> bool:
    return url.startswith("http") and not url.startswith("http://127.0.0.1:")


def as_nobody(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as another account of this machine."""
    return subprocess.run(
        ["/usr/bin/python3", "-c", code, *arguments],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
