"""Odd things in the spool, and things that vanish from it: the rest goes on."""

import asyncio
import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from qme.executor.commands import Exit, Keeper
from qme.executor.spool import Spool

from .conftest import Lab, keeper_pid, until


def odd_entries(spool: Spool) -> list[Path]:
    """Put things into a spool that are not what their names say."""
    paths = [spool.tasks / f"{uuid.uuid4()}.1" for _ in range(6)]
    paths[0].write_text("a file")
    paths[1].symlink_to("/nosuch/place")
    for path, name in ((paths[2], "exit"), (paths[3], "start")):
        (path / name).mkdir(parents=True)
    for path, name in ((paths[4], "exit"), (paths[5], "start")):
        path.mkdir()
        (path / name).symlink_to(name)
    return paths


def test_cleaning_passes_over_what_is_odd(spool: Spool, caplog: pytest.LogCaptureFixture):
    """Whatever else stands in the place of an attempt is left alone and told once; the others are cleaned."""
    good = spool.attempt(str(uuid.uuid4()), 1)
    good.create()
    (good.path / "stdout").touch()
    odd = odd_entries(spool)
    for _ in range(2):
        spool.clean(time.time() + 100, 1, 0)
    assert not good.path.exists()
    assert all(os.path.lexists(path) for path in odd)
    told = [record.getMessage() for record in caplog.records]
    assert [sum(str(path) in line for line in told) for path in odd] == [1] * len(odd)


def test_a_pipe_in_the_place_of_a_record_holds_nobody_up(spool: Spool):
    """It says nothing, at once."""
    folder = spool.attempt(str(uuid.uuid4()), 1)
    folder.create()
    os.mkfifo(folder.exit)
    assert folder.read_exit() is None


async def test_a_link_is_removed_and_what_it_names_is_not(spool: Spool, tmp_path: Path):
    """Cleaning touches nothing beyond the spool."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    folder = spool.attempt(str(uuid.uuid4()), 1)
    folder.create()
    folder.workdir.symlink_to(outside)
    folder.exit.write_text(
        '{"status": 0, "utime": 0, "stime": 0, "maxrss_kb": 0, "started": 1, "finished": 2, "error": null}\n'
    )
    spool.clean(time.time(), 1000, -1)
    assert outside.stat().st_mode & 0o777 == 0o750
    assert not folder.workdir.is_symlink()


@pytest.mark.parametrize("kind", ["folder", "dangling link", "pipe"])
async def test_an_exit_that_cannot_be_written(lab: Lab, kind: str):
    """Whoever asks is answered from memory, and the keeper can still be told to leave."""
    folder = lab.spool.attempt(str(uuid.uuid4()), 1)
    folder.create()
    match kind:
        case "folder":
            folder.exit.mkdir()
        case "dangling link":
            folder.exit.symlink_to("/nosuch/place")
        case _:
            os.mkfifo(folder.exit)
    await lab.again(folder, "sh", "-c", "exit 3")
    assert (await lab.ended(folder)).returncode == 3
    await lab.keeper.close()
    later = Keeper(lab.spool)
    await later.connect()
    found = await later.wait(folder.uuid, 1)
    assert isinstance(found, Exit)
    assert found.returncode == 3
    await later.close()
    pid = keeper_pid(lab.spool)
    assert pid
    os.kill(pid, signal.SIGTERM)
    await until(lambda: keeper_pid(lab.spool) is None, 20)
    assert "can't be written" in (lab.spool.path / "keeper.log").read_text()


@pytest.mark.parametrize("files", [["keeper.sock"], ["keeper.sock", "keeper.lock"]])
async def test_a_cleaner_removes_the_socket(lab: Lab, files: list[str], caplog: pytest.LogCaptureFixture):
    """The keeper makes it anew while its command runs, and the next worker reaches it; it says what it waits for."""
    folder = await lab.start("sh", "-c", "echo up; sleep 300")
    pid = keeper_pid(lab.spool)
    await lab.keeper.close()
    for name in files:
        (lab.spool.path / name).unlink()
    if len(files) > 1:  # nobody can tell that somebody has the spool: the keeper is given the time to see it
        await until(lambda: (lab.spool.path / "keeper.sock").exists(), 15)
    async with asyncio.timeout(20):
        await lab.keeper.connect()
    assert set(lab.keeper.running()) == {(folder.uuid, 1)}
    assert keeper_pid(lab.spool) == pid
    if len(files) == 1:
        assert "its socket is gone" in caplog.text


async def test_a_keeper_without_its_socket_leaves_in_peace(lab: Lab):
    """That the socket has gone is no reason to fail at the end."""
    await lab.run("true")
    (lab.spool.path / "keeper.sock").unlink()
    await lab.keeper.quit()
    await until(lambda: keeper_pid(lab.spool) is None)
    assert "Traceback" not in (lab.spool.path / "keeper.log").read_text()
