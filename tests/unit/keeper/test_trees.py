"""Ending an attempt ends everything that belongs to it, and nothing else."""

# ruff: noqa: ASYNC220 -- starting a process takes a millisecond, and the tests have nothing else to do

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from qme.executor.attempts import AttemptDir
from qme.executor.commands import Exit
from qme.executor.keeper.ending import send
from qme.executor.keeper.proc import Process, process, tree
from qme.executor.processes import identity_of

from .conftest import Lab, until


async def started(lab: Lab, script: str, lines: int) -> tuple[AttemptDir, list[int]]:
    """Start a script that prints the pids of all its processes, one a line."""
    folder = await lab.start("sh", "-c", script)
    await until(lambda: folder.stdout.exists() and folder.stdout.read_text().count("\n") == lines)
    return folder, [int(pid) for pid in folder.stdout.read_text().split()]


DEAF = "env -u QME_TASK_ID setsid sh -c 'trap \"\" TERM; echo $$; sleep 60; sleep 60' & echo $$; wait"
SCRIPTS = {
    "children": ("sleep 60 & echo $!; sleep 60 & echo $!; echo $$; wait", 3),
    "other session": ("setsid sh -c 'echo $$; exec sleep 60' & echo $$; wait", 2),
    "double fork": ("(setsid sh -c 'echo $$; exec sleep 60' &); echo $$; exec sleep 60", 2),
    "other group": ("set -m; sleep 60 & echo $!; echo $$; wait", 2),
    "no marker": ("env -u QME_TASK_ID setsid sh -c 'echo $$; exec sleep 60' & echo $$; wait", 2),
    "no marker, deaf": (DEAF, 2),
    "ignores TERM": ("trap '' TERM; echo $$; while :; do sleep 0.1; done", 1),
    "children ignore TERM": (
        "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & echo $$; wait",
        2,
    ),
    "stopped": ("sh -c 'echo $$; kill -STOP $$' & echo $$; wait", 2),
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_nothing_survives_the_end(lab: Lab, name: str):
    """Children, orphans, other sessions and groups, the deaf and the stopped: all are gone when `end` returns."""
    folder, pids = await started(lab, *SCRIPTS[name])
    assert await lab.end(folder, grace=0.2) == []
    assert [pid for pid in pids if identity_of(pid)] == []
    assert isinstance(folder.read_exit(), Exit)


async def test_a_polite_command_gets_its_grace(lab: Lab):
    """TERM comes first; what a command does on it counts, and the end is not delayed to the grace's end."""
    script = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done"
    folder = await lab.start("sh", "-c", script)
    await until(lambda: folder.stdout.read_text() == "up\n")
    begin = time.monotonic()
    await lab.end(folder, grace=30)
    assert time.monotonic() - begin < 5
    end = await lab.ended(folder)
    assert (end.returncode, folder.stdout.read_text()) == (9, "up\nbye\n")


async def test_a_stopped_command_gets_its_grace_too(lab: Lab):
    """It is woken to take its TERM."""
    folder = await lab.start("sh", "-c", "trap 'echo bye; exit 9' TERM; kill -STOP $$; sleep 60")
    token = folder.read_token()
    assert token
    assert token.pid
    stat = Path(f"/proc/{token.pid}/stat")
    await until(lambda: ") T " in stat.read_text())
    await lab.end(folder, grace=30)
    assert ((await lab.ended(folder)).returncode, folder.stdout.read_text()) == (9, "bye\n")


def test_a_signal_never_goes_to_who_came_later():
    """The process that was seen is gone and another has its pid: it gets nothing."""
    with subprocess.Popen(["sleep", "60"]) as child:
        seen = process(child.pid)
        assert seen
        seen.start_time -= 1
        assert send(seen, signal.SIGKILL)
        time.sleep(0.05)
        assert child.poll() is None
        seen.start_time += 1
        assert send(seen, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert send(seen, signal.SIGKILL)


async def test_leftovers_live_on_and_can_be_ended(lab: Lab):
    """The end of the main process is the end of the command; what it left behind goes with `end` only."""
    folder, (leftover,) = await started(lab, "setsid sleep 60 & echo $!", 1)
    assert (await lab.ended(folder)).returncode == 0
    assert identity_of(leftover)
    await lab.end(folder)
    assert not identity_of(leftover)


async def test_a_tree_that_keeps_forking_is_ended(lab: Lab):
    """Ending goes on until nothing new turns up."""
    fork = "f() { sleep 0.02; [ $1 = 0 ] || { f $(($1 - 1)) & f $(($1 - 1)) & }; sleep 60; }"
    folder, _ = await started(lab, f"trap '' TERM; {fork}; f 5 & echo $$; wait", 1)
    await lab.end(folder, grace=0)
    assert lab.members(folder) == []


async def test_ending_one_leaves_the_others(lab: Lab):
    """Neither other commands, nor the client, nor a stranger with the dead command's pid as session."""
    one, two = await lab.start("sleep", "60"), await lab.start("sleep", "60")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        await lab.end(one, 0)
        assert (await lab.ended(one)).signal in (signal.SIGTERM, signal.SIGKILL)
        assert lab.members(two)
        assert stranger.poll() is None
        stranger.kill()


async def test_many_ends_at_once(lab: Lab):
    """A mass cancel is as safe as one."""
    folders = [await lab.start("sh", "-c", "sleep 60 & wait") for _ in range(40)]
    await asyncio.gather(*(lab.end(folder) for folder in folders))
    assert {(await lab.ended(folder)).signal for folder in folders} == {signal.SIGTERM}
    assert all(lab.members(folder) == [] for folder in folders)


async def test_a_signal_reaches_the_whole_tree(lab: Lab):
    """Sent to every process, which may take it as it likes."""
    script = "trap 'echo usr; exit 4' USR1; sleep 60 & echo up; wait"
    folder = await lab.start("sh", "-c", script)
    await until(lambda: folder.stdout.read_text() == "up\n")
    assert await lab.keeper.signal(folder.uuid, 1, signal.SIGUSR1) == 2
    assert (await lab.ended(folder)).returncode == 4
    await until(lambda: lab.members(folder) == [])  # the sleeper may take a moment longer
    assert await lab.keeper.signal(folder.uuid, 1, signal.SIGUSR1) == 0


async def test_the_end_goes_on_without_its_asker(lab: Lab, tmp_path: Path):
    """Once asked for it happens, even if the worker is gone."""
    folder, pids = await started(lab, "trap '' TERM; echo $$; while :; do sleep 0.1; done", 1)
    asking = asyncio.create_task(lab.end(folder, grace=0.3))
    await asyncio.sleep(0)
    await until(lambda: lab.keeper._link._answers)
    await lab.keeper.close()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asking
    await until(lambda: identity_of(pids[0]) is None)


def row(pid: int, parent: int, session: int, start_time: int = 1, task: str = "") -> Process:
    """Make up a process."""
    made = Process(pid, [b"S", b"%d" % parent, b"0", b"%d" % session, *[b"0"] * 15, b"%d" % start_time])
    made.task_id = task
    return made


def test_who_belongs_to_a_tree():
    """Marker, descent and session, followed to the end; a reused pid or a session that was joined draws nobody in."""
    rows = [
        row(10, 2, 10, task="t"),
        row(11, 10, 10),
        row(12, 11, 12),  # left the session
        row(13, 1, 12),  # an orphan in that one's session
        row(14, 13, 14),
        row(20, 2, 20, task="other"),
        row(30, 2, 30, start_time=5),
        row(31, 30, 30),
        row(40, 2, 40),  # a login session in which somebody set the variable
        row(41, 40, 40, task="v"),
        row(42, 40, 40),
        row(51, 1, 50, task="w"),  # its session's leader is gone
        row(52, 1, 50),
    ]
    assert sorted(p.pid for p in tree(rows, "t", {})) == [10, 11, 12, 13, 14]
    assert sorted(p.pid for p in tree(rows, "u", {30: 5})) == [30, 31]
    assert tree(rows, "u", {30: 4}) == []
    assert tree(rows, "u", {12345: 1}) == []
    assert sorted(p.pid for p in tree(rows, "v", {})) == [41]
    assert sorted(p.pid for p in tree(rows, "w", {50: 1})) == [51, 52]
    assert sorted(p.pid for p in tree(rows, "w", {})) == [51]


async def test_a_process_title_with_brackets_is_no_obstacle(lab: Lab, tmp_path: Path):
    """The name of a program may look like the rest of its row in /proc."""
    nasty = tmp_path / "a) R 1 1 1 (b"
    nasty.write_text("#!/bin/sh\necho up\nread x\n")
    nasty.chmod(0o755)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    folder = await lab.start("sh", "-c", f"'{nasty}' < {fifo}")
    holder = os.open(fifo, os.O_RDWR)
    await until(lambda: folder.stdout.read_text() == "up\n")
    await lab.end(folder)
    os.close(holder)
    assert lab.members(folder) == []


HIDDEN = "(env -i setsid sh -c 'echo $$; exec sleep 60' &); sleep 0.3; echo $$; exec sleep 60"


async def hidden(lab: Lab) -> tuple[AttemptDir, list[int]]:
    """Start a command with an orphan that left session and environment behind; the pids of both."""
    folder = await lab.start("sh", "-c", HIDDEN)
    await until(lambda: folder.stdout.exists() and folder.stdout.read_text().count("\n") == 2)
    return folder, [int(pid) for pid in folder.stdout.read_text().split()]


async def test_an_orphan_that_hid_belongs_to_the_only_command(lab: Lab):
    """With no other command that it could be of, it is ended too."""
    folder, pids = await hidden(lab)
    assert await lab.end(folder, grace=0.2) == []
    assert [pid for pid in pids if identity_of(pid)] == []


async def test_an_orphan_that_may_be_anothers_is_left_and_named(lab: Lab, caplog: pytest.LogCaptureFixture):
    """With two commands nobody can tell whose it is."""
    other = await lab.start("sleep", "60")
    folder, pids = await hidden(lab)
    try:
        await lab.end(folder, grace=0.2)
        left = [pid for pid in pids if identity_of(pid)]
        assert len(left) == 1
        assert str(left[0]) in caplog.text
    finally:
        for pid in pids:
            row = process(pid)
            if row:
                send(row, signal.SIGKILL)
    await lab.end(other, grace=0)
