"""`qme top` in a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time

from tests.integration.stack import Stack


def test_it_shows_what_happens_until_q(stack: Stack) -> None:
    """A task that is submitted meanwhile appears by itself; q gives the screen back."""
    ours, theirs = pty.openpty()
    top = subprocess.Popen(
        stack.command("top", "--every", "0.2s"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=stack.env | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    try:
        seen = _until(ours, r"EXECUTOR.*shell")
        assert "\x1b[?1049h" in seen
        stack.ok("run", "echo", "see-me-on-the-screen")
        _until(ours, r"success.*see-me-on-the-screen")
        os.write(ours, b"q")
        assert "\x1b[?1049l" in _until(ours, r"1049l")
        assert top.wait(20) == 0
    finally:
        top.kill()
        top.wait()
        os.close(ours)


def test_into_a_pipe_it_is_written_once(stack: Stack) -> None:
    """As tab-separated rows."""
    stack.ok("run", "true")
    text = stack.ok("top")
    assert re.search(r"^shell\t", text, re.MULTILINE)
    assert re.search(r"\tsuccess\t", text)
    assert "\x1b" not in text


def _until(terminal: int, wanted: str) -> str:
    seen, deadline = "", time.monotonic() + 40
    while not re.search(wanted, seen, re.DOTALL):
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the other side was closed
                return seen
    return seen
