"""People are told how their tasks ended: by a command, by a webhook, and through the death of whoever tells."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stack import Stack

from qme.contracts.tasks import TaskRecord
from qme.notifier import wishes

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The file to which news is appended, a line each."""
    return tmp_path / "told"


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for a condition and give what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def lines(told: Path) -> list[dict[str, Any]]:
    """All news so far."""
    return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


@contextmanager
def notifier(stack: Stack, **settings: str) -> Iterator[Any]:
    """A notifier at work."""
    place = stack.home.glob("notifier-*.json")
    for path in place:
        path.unlink()
    process = stack.start("notifier", env=settings | {"QME_LOG_FORMAT": "json"})
    try:
        until(lambda: list(stack.home.glob("notifier-*.json")))
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_command_is_told_what_was_asked_for(stack: Stack, told: Path) -> None:
    """Tasks with --notify, and only such ends as were asked for; the line is in a variable, the rest on stdin."""
    line = f'cat >> {told}; echo "$QME_OUTCOME: $QME_TEXT" >> {told}.text'
    with notifier(stack, QME_NOTIFY_COMMAND=line):
        stack.qme("run", "false")
        stack.qme("run", "--notify-on", "failed", "true")
        stack.qme("run", "-m", "the analysis", "--notify-on", "failed,timeout", "sh", "-c", "exit 3")
        stack.ok("run", "--notify", "true")
        until(lambda: len(lines(told)) >= 2)
    first, second = lines(told)
    assert (first["outcome"], first["returncode"], first["message"]) == ("failed", 3, "the analysis")
    assert (second["outcome"], second["command"]) == ("success", "true")
    assert (told.parent / "told.text").read_text().startswith("failed: the analysis ended as failed")


def test_what_ended_meanwhile_is_told_afterwards(stack: Stack, told: Path) -> None:
    """A notifier that was killed is told by its place on disk where to go on."""
    with notifier(stack, QME_NOTIFY_COMMAND=f"cat >> {told}", QME_NOTIFY_ON="all") as first:
        stack.ok("run", "echo", "one")
        until(lambda: len(lines(told)) == 1)
        until(lambda: json.loads(next(stack.home.glob("notifier-*.json")).read_text())["revision"] > 1)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        stack.ok("run", "echo", "two")
        again = stack.start("notifier", env={"QME_NOTIFY_COMMAND": f"cat >> {told}", "QME_NOTIFY_ON": "all"})
        try:
            until(lambda: [one for one in lines(told) if one["command"] == "echo two"])
        finally:
            again.terminate()
            again.communicate(timeout=30)
    ids = [one["id"] for one in lines(told)]
    assert len({*ids}) == 2


def test_a_webhook_that_fails_is_tried_again(stack: Stack) -> None:
    """Until it has taken the news; tasks go on meanwhile."""
    taken: list[dict[str, Any]] = []
    refused: list[int] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not refused:
                refused.append(503)
                self.send_error(503)
                return
            taken.append(body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        with notifier(stack, QME_NOTIFY_URL=f"http://127.0.0.1:{server.server_port}/hook"):
            uid = stack.ok("submit", "--notify", "--wait", "echo", "hello").strip()
            until(lambda: taken)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    assert [one["task"] for one in taken] == [uid]


def test_without_a_way_it_says_so(stack: Stack) -> None:
    """Instead of running for nothing."""
    done = stack.qme("notifier")
    assert done.returncode == 2
    assert b"notify_command" in done.stderr


@pytest.mark.parametrize(
    ("changes", "always", "tells"),
    [
        ({"outcome": "failed"}, (), False),
        ({"outcome": "failed", "labels": {"notify": "all"}}, (), True),
        ({"outcome": "failed", "labels": {"notify": "timeout,failed"}}, (), True),
        ({"outcome": "success", "labels": {"notify": "timeout,failed"}}, (), False),
        ({"outcome": "failed"}, ("failed",), True),
        ({"outcome": "lost", "provisional": True}, ("all",), False),
        ({"outcome": "lost"}, ("all",), True),
        ({}, ("all",), False),
        ({"outcome": "failed", "user": "bob"}, ("all",), False),
    ],
)
def test_which_ends_are_news(changes: dict[str, Any], always: tuple[str, ...], tells: bool) -> None:
    """One's own, such as were asked for; not one that is lost by silence alone."""
    record = TaskRecord.model_validate(
        {
            "uid": "shell-01990000-0000-7000-8000-000000000000",
            "executor": "shell",
            "pool": "p",
            "command": "x",
            "user": "ann",
            "created": "2026-01-01T00:00:00Z",
            **changes,
        }
    )
    assert wishes.wanted(record, "ann", always) is tells
