"""The spool: who may use it, what its files say, what goes when room is needed."""

import json
import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from qme.contracts.subjects import token
from qme.executor.attempts import AttemptDir, Token
from qme.executor.processes import identity_of
from qme.executor.spool import Spool, SpoolBusy

RECORD = {
    "status": 3,
    "utime": 0.5,
    "stime": 0.25,
    "maxrss_kb": 9,
    "started": 1.0,
    "finished": 2.0,
    "error": None,
}


def attempt(spool: Spool, *, ended_at: float | None = None, size: int = 0) -> AttemptDir:
    """Lay an attempt down as the keeper would."""
    folder = spool.attempt(str(uuid.uuid4()), 1)
    folder.create()
    folder.start.write_text('{"boot_id": "b", "started": 1.0}\n')
    folder.stdout.write_bytes(b"x" * size)
    if ended_at is not None:
        folder.exit.write_text(json.dumps(RECORD) + "\n")
        os.utime(folder.exit, (ended_at, ended_at))
    return folder


def test_a_second_process_is_refused(spool: Spool):
    """One worker a spool: the lock names the way out, and ends with its holder."""
    code = "import sys, pathlib; from qme.executor.spool import Spool; s = Spool(pathlib.Path(sys.argv[1])); s.lock()"
    code += "; print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(spool.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SpoolBusy, match="another worker uses the spool"):
            spool.lock()
        holder.kill()
        holder.wait()
    spool.lock()
    spool.unlock()


def test_the_worker_id_stays(spool: Spool):
    """It is made once, survives the process, and is a subject token as it stands."""
    first = spool.worker_id
    assert Spool(spool.path).worker_id == first
    assert token(first) == first
    assert [path.name for path in spool.path.glob("worker-id*")] == ["worker-id"]


def test_it_is_private(spool: Spool):
    """Nobody else may look into a spool, whatever the umask says."""
    spool.lock()
    assert spool.worker_id
    spool.unlock()
    attempt(spool)
    folders = [spool.path, spool.tasks, *spool.tasks.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert {stat.S_IMODE((spool.path / name).stat().st_mode) for name in ("worker.lock", "worker-id")} == {
        0o600
    }


@pytest.mark.parametrize("name", ["../../x", "", "0199AAAA-0000-7000-8000-000000000001"])
def test_a_name_that_is_no_uuid_never_becomes_a_path(spool: Spool, name: str):
    """Paths are made from uuids only."""
    with pytest.raises(ValueError, match="not an attempt"):
        spool.attempt(name, 1)


@pytest.mark.parametrize(
    "text", ["", "{", json.dumps(RECORD), json.dumps(RECORD)[:20] + "\n", "[]\n", "{}\n"]
)
def test_an_incomplete_exit_record_counts_as_absent(spool: Spool, text: str):
    """A record without its newline, torn or empty is still being written."""
    folder = attempt(spool)
    assert folder.read_exit() is None
    folder.exit.write_text(text)
    assert folder.read_exit() is None


def test_an_exit_record_is_read_back(spool: Spool):
    """Codes as a shell gives them, signals apart."""
    folder = attempt(spool, ended_at=1.0)
    found = folder.read_exit()
    assert found
    assert (found.returncode, found.signal, found.maxrss_kb) == (3, None, 9)
    folder.exit.write_text(json.dumps(RECORD | {"status": -9}) + "\n")
    found = folder.read_exit()
    assert found
    assert (found.returncode, found.signal) == (137, 9)


def test_a_torn_token_is_still_a_token(spool: Spool):
    """Its existence refuses a second start even where nothing in it can be read."""
    folder = spool.attempt(str(uuid.uuid4()), 1)
    assert folder.read_token() is None
    folder.create()
    folder.start.touch()
    assert folder.read_token() == Token()
    folder.start.write_text('{"boot_id": "b", "started": 1.0}\n{"pid": 7, "sta')
    assert folder.read_token() == Token("b", 1.0)


def test_attempts_on_disk_are_listed(spool: Spool):
    """Every attempt, and nothing else that lies about."""
    folders = {attempt(spool) for _ in range(3)}
    (spool.tasks / "notes").mkdir()
    assert set(spool) == folders


def test_old_attempts_go_whole(spool: Spool):
    """What ended before the keeping time is removed; younger, running and kept ones stay."""
    old, young = attempt(spool, ended_at=100.0), attempt(spool, ended_at=900.0)
    kept, running = attempt(spool, ended_at=100.0), attempt(spool)
    me = identity_of(os.getpid())
    assert me
    running.start.write_text(
        json.dumps({"boot_id": me.boot_id, "pid": me.pid, "start_time": me.start_time}) + "\n"
    )
    os.utime(running.path, (100, 100))
    assert spool.clean(1000.0, 500.0, 1 << 30, {(kept.uuid, 1)}) == 1
    assert set(spool) == {young, kept, running}
    assert not old.path.exists()


def test_the_oldest_output_goes_first_when_room_is_short(spool: Spool):
    """Output beyond the ceiling goes, oldest first; tokens and exit records stay and refuse a second start."""
    first, second, third = (attempt(spool, ended_at=float(n), size=100_000) for n in (1, 2, 3))
    running = attempt(spool, size=100_000)
    assert spool.clean(10.0, 500.0, 250_000) == 2
    assert [folder.stdout.exists() for folder in (first, second, third, running)] == [
        False,
        False,
        True,
        True,
    ]
    assert all(folder.read_token() and folder.read_exit() for folder in (first, second))


def test_cleaning_gets_through_what_a_command_locked(spool: Spool):
    """Folders without permissions, and links out of the spool, are removed as what they are."""
    folder = attempt(spool, ended_at=1.0)
    outside = spool.path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (folder.workdir / "a" / "b").mkdir(parents=True)
    (folder.workdir / "link").symlink_to(outside)
    (folder.workdir / "a").chmod(0)
    folder.workdir.chmod(0o500)
    spool.clean(1000.0, 1.0, 0)
    assert list(spool) == []
    assert list(Path(spool.path / "trash").iterdir()) == []
    assert (outside / "file").exists()
