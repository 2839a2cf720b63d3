"""Helpers and services: capture, detached processes, identities."""

# ruff: noqa: ASYNC220 -- starting a process takes a millisecond, and the tests have nothing else to do

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from qme.executor.processes import (
    Identity,
    capture,
    identity_of,
    is_alive,
    spawn_detached,
    terminate,
)

from .conftest import until


async def test_capture_gives_output_and_code():
    """Both streams, the code, and what was fed to stdin."""
    got = await capture(["sh", "-c", "cat; echo err >&2; exit 7"], stdin=b"a\0b")
    assert (got.returncode, got.stdout, got.stderr) == (7, b"a\0b", b"err\n")
    assert not got.timed_out
    assert not got.truncated


async def test_capture_has_no_stdin_unless_given():
    """A helper that asks reads nothing instead of waiting."""
    assert (await capture(["cat"], timeout=5)).stdout == b""


async def test_capture_uses_env_and_cwd(tmp_path: Path):
    """The environment is all of it, the folder the one given."""
    got = await capture(["/bin/sh", "-c", "echo $A; pwd"], env={"A": "1"}, cwd=tmp_path)
    assert got.stdout.decode() == f"1\n{tmp_path}\n"


async def test_capture_bounds_its_memory():
    """Output beyond the limit is read and dropped, so that the helper goes on to its end."""
    got = await capture(["sh", "-c", "head -c 3000000 /dev/zero; exit 3"], limit_bytes=1000)
    assert (got.returncode, len(got.stdout), got.truncated) == (3, 1000, True)


async def test_capture_ends_the_whole_group_in_time(tmp_path: Path):
    """A timeout takes children with it and is reported, not raised."""
    pids = tmp_path / "pids"
    start = time.monotonic()
    got = await capture(["sh", "-c", f"sleep 60 & echo $! > {pids}; echo out; wait"], timeout=0.3)
    assert (got.returncode, got.timed_out, got.stdout) == (-signal.SIGKILL, True, b"out\n")
    assert time.monotonic() - start < 5
    await until(lambda: identity_of(int(pids.read_text())) is None)


async def test_capture_ends_the_group_when_cancelled(tmp_path: Path):
    """A caller that stops waiting leaves no helper behind."""
    pids = tmp_path / "pids"
    task = asyncio.create_task(capture(["sh", "-c", f"echo $$ > {pids}.new; mv {pids}.new {pids}; sleep 60"]))
    await until(pids.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: identity_of(int(pids.read_text())) is None)


async def test_capture_does_not_wait_for_who_holds_the_pipe():
    """What the helper left in the background keeps the pipe open, not the caller waiting."""
    start = time.monotonic()
    got = await capture(["sh", "-c", "sleep 5 & echo out"])
    assert (got.returncode, got.stdout) == (0, b"out\n")
    assert time.monotonic() - start < 3


async def test_capture_says_when_there_is_no_such_program():
    """It raises, so that a missing program can't be taken for one that failed."""
    with pytest.raises(FileNotFoundError):
        await capture(["/nosuch/program"])


async def test_a_detached_process_is_on_its_own(tmp_path: Path):
    """Own session, no stdin, output in the log, none of our descriptors, and it can be ended by its identity."""
    log = tmp_path / "log"
    read, write = os.pipe()
    os.set_inheritable(write, True)
    script = "cat; echo up; ls /proc/self/fd | wc -l; exec sleep 60"
    pid = spawn_detached(["sh", "-c", script], log, {"PATH": os.environ["PATH"]})
    os.close(read)
    os.close(write)
    identity = identity_of(pid)
    assert identity
    await until(lambda: log.read_text().count("\n") == 2)
    assert log.read_text().split() == ["up", "4"]  # three, and the one that ls reads the folder by
    assert os.getsid(pid) == pid
    assert log.stat().st_mode & 0o777 == 0o600
    assert is_alive(identity)
    assert await terminate(identity, 5)
    assert not is_alive(identity)
    assert await terminate(identity, 5)


async def test_terminate_kills_what_ignores_term(tmp_path: Path):
    """After the grace it is KILL."""
    log = tmp_path / "log"
    script = "trap '' TERM; echo up; while :; do sleep 1; done"
    pid = spawn_detached(["sh", "-c", script], log, {"PATH": os.environ["PATH"]})
    identity = identity_of(pid)
    assert identity
    await until(lambda: log.read_text() == "up\n")
    assert await terminate(identity, 0.1)
    assert not is_alive(identity)


async def test_terminate_asks_once(tmp_path: Path):
    """A process that takes its time to end gets one TERM: a second one would mean "at once"."""
    log = tmp_path / "log"
    script = "trap 'echo asked' TERM; echo up; for i in 1 2 3 4 5 6 7 8; do sleep 0.05; done"
    pid = spawn_detached(["sh", "-c", script], log, {"PATH": os.environ["PATH"]})
    identity = identity_of(pid)
    assert identity
    await until(lambda: log.read_text() == "up\n")
    assert await terminate(identity, 10)
    assert log.read_text() == "up\nasked\n"


def test_a_pid_that_was_used_again_is_somebody_else():
    """Same pid with another start time or in another boot is not the process that was meant."""
    me = identity_of(os.getpid())
    assert me
    assert is_alive(me)
    assert not is_alive(Identity(me.pid, me.start_time + 1, me.boot_id))
    assert not is_alive(Identity(me.pid, me.start_time, "another-boot"))


async def test_nobody_is_signalled_in_place_of_another():
    """Terminating a process that is gone leaves the one that has its pid now alone."""
    with subprocess.Popen(["sleep", "60"]) as child:
        real = identity_of(child.pid)
        assert real
        assert await terminate(Identity(real.pid, real.start_time - 1, real.boot_id), 0)
        assert child.poll() is None
        child.kill()


def test_a_zombie_does_not_live():
    """Ended but not reaped is ended."""
    with subprocess.Popen(["true"]) as child:
        identity = identity_of(child.pid)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identity is None or not is_alive(identity)
