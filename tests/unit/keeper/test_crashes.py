"""Everything dies at the worst moment; no command is started twice and none is forgotten."""

# ruff: noqa: ASYNC220 -- starting a process takes a millisecond, and the tests have nothing else to do

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from qme.executor.commands import AlreadyStarted, Exit, Keeper, KeeperError, Lost, Started
from qme.executor.processes import boot_id, identity_of
from qme.executor.recovery import NotStarted, Running
from qme.executor.spool import Spool

from .conftest import Lab, keeper_pid, until

WORKER = """
import asyncio, pathlib, sys
from qme.executor.commands import Keeper
from qme.executor.spool import Spool

async def main(path, uuid, script):
    spool = Spool(pathlib.Path(path))
    spool.lock()
    keeper = Keeper(spool, idle_seconds=0.5)
    env = {"PATH": "/usr/bin:/bin", "QME_TASK_ID": uuid + ".1"}
    print(await keeper.start(uuid, 1, ["sh", "-c", script], env=env, cwd=pathlib.Path("/")), flush=True)
    print((await keeper.wait(uuid, 1)).returncode, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def kill(pid: int | None) -> None:
    """Kill -9."""
    assert pid
    os.kill(pid, signal.SIGKILL)


async def test_a_command_outlives_its_worker(lab: Lab):
    """Kill -9 of the worker: the command goes on, its successor takes it over with output and exit code whole."""
    task = str(uuid.uuid4())
    folder = lab.spool.attempt(task, 1)
    script = "echo one; sleep 0.5; echo two; exit 7"
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(lab.spool.path), task, script], stdout=-1
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().startswith(b"Started")
        await until(lambda: folder.stdout.read_text() == "one\n")
        worker.kill()
        worker.wait()
    lab.spool.lock()
    assert await lab.again(folder, "echo", "twice") == AlreadyStarted()
    end = await lab.ended(folder)
    assert (end.returncode, folder.stdout.read_text()) == (7, "one\ntwo\n")
    lab.spool.unlock()


async def test_an_end_nobody_saw_is_found_on_disk(lab: Lab):
    """The command ends between two workers, even between two keepers."""
    folder = await lab.start("sh", "-c", "sleep 0.2; exit 3")
    await lab.keeper.close()
    await until(lambda: folder.read_exit() is not None)
    await until(lambda: keeper_pid(lab.spool) is None)
    end = await Keeper(lab.spool).wait(folder.uuid, 1)
    assert isinstance(end, Exit)
    assert end.returncode == 3


async def test_what_a_dead_worker_asked_is_done_before_its_successor_hears(lab: Lab):
    """A start that lay in the socket happens before the successor is told what there is, never after it."""
    await lab.keeper.connect()
    pid = keeper_pid(lab.spool)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    folders = [lab.spool.attempt(str(uuid.uuid4()), 1) for _ in range(20)]
    asked = [asyncio.create_task(lab.again(folder, "sleep", "60")) for folder in folders]
    await until(lambda: len(lab.keeper._link._answers) == len(asked))
    for task in asked:
        task.cancel()
    await lab.keeper.close()
    asking = asyncio.create_task(lab.keeper.connect())
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGCONT)
    await asking
    assert set(lab.keeper.running()) == {(folder.uuid, 1) for folder in folders}


async def test_the_keeper_dies_and_the_command_lives(lab: Lab):
    """It is not started again, is waited for to its end, and is lost then; new commands get a new keeper."""
    folder = await lab.start("sh", "-c", "echo up; sleep 0.6; echo end")
    await until(lambda: folder.stdout.read_text() == "up\n")
    waiting = asyncio.create_task(lab.wait(folder))
    await asyncio.sleep(0)
    kill(keeper_pid(lab.spool))
    assert await lab.again(folder, "echo", "twice") == AlreadyStarted()
    assert isinstance(await lab.keeper.find(folder.uuid, 1), Running)
    assert (await lab.run("echo", "new"))[1] == "new\n"
    assert await waiting == Lost("the keeper died before the command ended: its exit status is unknown")
    assert folder.stdout.read_text() == "up\nend\n"


async def test_a_command_without_its_keeper_can_be_ended(lab: Lab):
    """The next keeper ends it, by the token, even where it hid its marker."""
    folder = await lab.start("env", "-i", "sh", "-c", "echo up; sleep 60 & wait")
    await until(lambda: folder.stdout.read_text() == "up\n")
    kill(keeper_pid(lab.spool))
    token = folder.read_token()
    assert token
    assert token.identity
    await lab.end(folder)
    assert identity_of(token.identity.pid) is None
    assert isinstance(await lab.wait(folder), Lost)


async def test_a_keeper_that_keeps_dying_loses_no_attempt(lab: Lab):
    """Killed again and again among many starts: every attempt is started at most once, and accounted for."""
    marks = lab.spool.path / "marks"

    async def one(n: int) -> object:
        folder = lab.spool.attempt(str(uuid.uuid4()), 1)
        script = f"echo {n} >> {marks}; exit 5"
        while True:
            try:
                await lab.again(folder, "sh", "-c", script)
                return await lab.wait(folder)
            except KeeperError:
                continue

    tasks = [asyncio.create_task(one(n)) for n in range(60)]
    for _ in range(5):
        await until(lambda: keeper_pid(lab.spool))
        await asyncio.sleep(0.02)
        if pid := keeper_pid(lab.spool):
            kill(pid)
    ends = await asyncio.gather(*tasks)
    ran = marks.read_text().split()
    assert len(ran) == len(set(ran)), "a command ran twice"
    assert all(isinstance(end, Lost) or (isinstance(end, Exit) and end.returncode == 5) for end in ends)
    assert {str(n) for n, end in enumerate(ends) if isinstance(end, Exit)} <= set(ran)


async def test_a_token_without_pid(lab: Lab):
    """The keeper died around the spawn: a process with the marker is the command, otherwise it is lost."""
    folder = lab.spool.attempt(str(uuid.uuid4()), 1)
    folder.create()
    folder.start.touch()
    assert await lab.again(folder, "echo", "twice") == AlreadyStarted()
    unknown = Lost("the keeper died while it started the command: whether it ran is unknown")
    assert await lab.wait(folder) == unknown
    with subprocess.Popen(
        ["sleep", "60"], env={"PATH": "/usr/bin:/bin", "QME_TASK_ID": folder.path.name}
    ) as child:
        found = await lab.keeper.find(folder.uuid, 1)
        assert isinstance(found, Running)
        assert found.identity.pid == child.pid
        ending = asyncio.create_task(lab.end(folder))
        await asyncio.to_thread(child.wait)
        await ending
    assert await lab.wait(folder) == unknown
    assert not folder.stdout.exists()


async def test_a_pid_of_somebody_else_is_not_the_command(lab: Lab):
    """Reused pid, or a boot in between: lost, and the innocent process is not touched by `end`."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        identity = identity_of(stranger.pid)
        assert identity
        later = {"boot_id": identity.boot_id, "pid": identity.pid, "start_time": identity.start_time - 1}
        other_boot = {"boot_id": "0", "pid": identity.pid, "start_time": identity.start_time}
        for token in (later, other_boot):
            folder = lab.spool.attempt(str(uuid.uuid4()), 1)
            folder.create()
            folder.start.write_text(json.dumps(token) + "\n")
            assert isinstance(await lab.wait(folder), Lost)
            assert await lab.end(folder, 0) == []
            assert stranger.poll() is None
        stranger.kill()
    assert boot_id()


async def test_one_keeper_a_spool(lab: Lab):
    """Two workers' clients that race to start it share one."""
    other = Keeper(lab.spool, idle_seconds=0.5)
    await asyncio.gather(lab.keeper.connect(), other.connect())
    folder = await lab.start("sleep", "60")
    assert isinstance(await other.find(folder.uuid, 1), Running)
    await other.close()


async def test_a_keeper_that_cannot_start_is_named(spool: Spool, monkeypatch: pytest.MonkeyPatch):
    """The worker gets one clear sentence, not a hang."""
    monkeypatch.setattr("qme.executor.link._PATIENCE", 0.3)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(KeeperError, match=r"no keeper can be started for .*; see keeper\.log"):
        await Keeper(spool).connect()
    monkeypatch.setattr(sys, "executable", "/nosuch/python")
    with pytest.raises(KeeperError, match="the keeper can't be started"):
        await Keeper(spool).connect()


async def test_a_keeper_told_to_stop_waits_for_its_commands(lab: Lab):
    """TERM, as at a shutdown: it leaves once the last exit is on disk."""
    folder = await lab.start("sh", "-c", "sleep 0.3; exit 6")
    pid = keeper_pid(lab.spool)
    assert pid
    os.kill(pid, signal.SIGTERM)
    end = await lab.ended(folder)
    assert end.returncode == 6
    await until(lambda: keeper_pid(lab.spool) is None)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A spool on a file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("platform: no right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_full_disk(small_disk: Path):
    """Nothing starts while the spool is full, an exit is answered from memory, and written once there is room."""
    lab = Lab(Spool(small_disk / "spool"))
    slow = await lab.start("sh", "-c", f"while [ ! -e {small_disk}/go ]; do sleep 0.02; done; exit 4")
    filler = await lab.start("sh", "-c", "cat /dev/zero; exit 3")
    end = await lab.ended(filler)
    assert end.returncode == 3
    assert filler.read_exit() is None

    refused = lab.spool.attempt(str(uuid.uuid4()), 1)
    with pytest.raises(KeeperError, match="No space left on device"):
        await lab.again(refused, "echo", "hi")
    assert await lab.keeper.find(refused.uuid, 1) == NotStarted()

    await lab.keeper.close()  # a new client gets it from the keeper's memory, too
    assert await lab.wait(filler) == end

    os.truncate(filler.stdout, 0)
    (small_disk / "go").touch()
    assert (await lab.ended(slow)).returncode == 4
    await until(lambda: filler.read_exit() == end)
    assert isinstance(await lab.again(refused, "echo", "hi"), Started)
    await lab.clean_up()
