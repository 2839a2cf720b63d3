"""A disk that is full for a while, under the bus or under a worker's spool: it is said, and all goes on by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.integration.local.conftest import until
from tests.integration.stack import Stack

pytestmark = pytest.mark.timeout(180)


@contextmanager
def filled(place: Path, leaving: int = 0) -> Iterator[None]:
    """Fill a disk while the context lasts, but for so many bytes."""
    filler, spare = place / "filler", place / "spare"
    spare.write_bytes(bytes(leaving))
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass
        spare.unlink()
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def running(stack: Stack, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the test."""
    with stack.start("run", *words) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[bytes], words: str) -> None:
    """Read its stderr until these words come."""
    assert process.stderr is not None
    line = b"?"
    while words.encode() not in line:
        line = process.stderr.readline()
        assert line, f"it never said {words!r}"


@pytest.fixture
def place(mount: Callable[[str], Path]) -> Iterator[tuple[Path, Stack]]:
    """A disk of 96 MiB, and a stack whose worker notices things soon; not started yet."""
    disk = mount("size=96m")
    stack = Stack(
        disk / "home", {"QME_HEARTBEAT": "0.5s", "QME_HOST": "here", "QME_JANITOR_INTERVAL": "0.5s"}
    )
    stack.home.mkdir()
    yield disk, stack
    stack.qme("down", "--cancel")


def test_the_disk_of_the_bus_is_full_for_a_while(place: tuple[Path, Stack]) -> None:
    """`run` and `status` say so; once there is room the command runs, and what was accepted is there."""
    disk, stack = place
    assert stack.ok("run", "echo", "before") == "before\n"
    before = stack.lines("ls")
    with running(stack, "sh", "-c", "sleep 1; echo after") as command:
        with filled(disk):
            says(command, f"the disk under {stack.home}/local/here is full")
            assert b"is full (0 MiB free): make room" in stack.qme("status").stderr
        out, _ = command.communicate(timeout=60)
        assert (command.returncode, out) == (0, b"after\n")
    assert stack.lines("ls")[1:] == before


def test_the_disk_of_the_spool_is_full_for_a_while(
    mount: Callable[[str], Path], place: tuple[Path, Stack]
) -> None:
    """Nothing is begun without a token, and whoever waits is told why; what ran meanwhile says what it may lack."""
    _, stack = place
    spool = mount("size=32m")
    (stack.home / "local/here").mkdir(parents=True)
    (stack.home / "local/here/spool").symlink_to(spool)
    begun, go, failed = (stack.home / name for name in ("begun", "go", "failed"))
    script = (
        f"echo begun; touch {begun}; until [ -e {go} ]; do sleep 0.05; done; "
        f"head -c 9000000 /dev/zero || touch {failed}; exit 0"
    )
    with running(stack, "sh", "-c", script) as unlucky:
        until(begun.exists)
        with filled(spool):
            until(lambda: "paused: the disk of its spool is full" in stack.ok("executors", "shell"), 30)
            with running(stack, "echo", "later") as later:
                says(later, "shell takes nothing now: the disk of its spool is full")
            uid = stack.lines("ls")[0].split("\t")[0]
            record = stack.record(uid)
            assert (record["status"], record["claim"]) == ("queued", None)
            assert not list(spool.glob(f"*/tasks/{uid[-36:]}*"))
            go.touch()
            until(failed.exists)
        out, err = unlucky.communicate(timeout=60)
    assert unlucky.returncode == 0
    assert out.startswith(b"begun\n")
    assert len(out) < 9_000_000
    assert b"spool was full while it ran; some of its output may be missing" in err
    assert stack.qme("wait", uid, "--timeout", "30").returncode == 0
    assert stack.ok("logs", uid) == "later\n"
