"""Where a command runs, and the files that were sent along."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qme.contracts.tasks import SentFile, TaskSpec
from qme.executor.base import Task
from qme.executor.workplace import WorkplaceError, lay_out, prepare


def sent(name: str, data: bytes = b"hello", mode: int = 0o600, sha256: str | None = None) -> SentFile:
    """Make a sent file."""
    digest = sha256 or hashlib.sha256(data).hexdigest()
    return SentFile(name=name, content=base64.b64encode(data).decode(), mode=mode, sha256=digest)


@dataclass
class OneTask:
    """As much of a task as a workplace looks at."""

    spec: TaskSpec
    directory: Path
    started: bool = False
    record: Any = field(default_factory=lambda: SimpleNamespace(data={}))


def task(directory: Path, **spec: Any) -> Task:
    """Make a task with this spec."""
    directory.mkdir(exist_ok=True)
    return cast(Task, OneTask(TaskSpec(uuid="u", user="ann", argv=("x",), **spec), directory))


def test_the_submitters_folder(tmp_path: Path) -> None:
    """The folder it was submitted in is used where it exists."""
    place = prepare(task(tmp_path / "own", cwd=str(tmp_path)))
    assert (place.cwd, place.own, place.stdin) == (tmp_path, False, None)


@pytest.mark.parametrize("cwd", [None, "/no/such/folder", "relative"])
def test_a_folder_of_its_own(tmp_path: Path, cwd: str | None) -> None:
    """Where that folder is missing, the task gets one of its own."""
    place = prepare(task(tmp_path / "own", cwd=cwd))
    assert (place.cwd, place.own) == (tmp_path / "own" / "work", True)
    assert place.cwd.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("cwd", "problem"), [("/no/such/folder", "does not exist"), ("/etc/passwd", "is not a folder")]
)
def test_a_given_folder_must_exist(tmp_path: Path, cwd: str, problem: str) -> None:
    """A folder that the user named and that can't be used is an error that says so."""
    with pytest.raises(WorkplaceError, match=f"{cwd} {problem}"):
        prepare(task(tmp_path / "own", cwd=cwd, cwd_given=True))


def test_files_and_stdin(tmp_path: Path) -> None:
    """Sent files lie in the working folder with their mode; stdin is a file apart."""
    place = prepare(
        task(tmp_path / "own", files=(sent("run.sh", mode=0o755), sent("a/b/c")), stdin=sent("stdin", b"in"))
    )
    assert (place.cwd / "run.sh").read_bytes() == b"hello"
    assert (place.cwd / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (place.cwd / "a/b/c").exists()
    assert place.stdin is not None
    assert place.stdin.read_bytes() == b"in"
    assert sorted(path.name for path in place.cwd.iterdir()) == ["a", "run.sh"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "link/x"])
def test_no_way_out(tmp_path: Path, name: str) -> None:
    """A sent file never lies outside of the working folder, by name or by a link."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(tmp_path)
    with pytest.raises(WorkplaceError, match="outside"):
        lay_out(sent(name), work)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]


def test_a_damaged_file(tmp_path: Path) -> None:
    """Content that is not what was sent is refused."""
    with pytest.raises(WorkplaceError, match="damaged"):
        lay_out(sent("x", sha256="0" * 64), tmp_path)
    with pytest.raises(WorkplaceError, match="damaged"):
        lay_out(SentFile(name="x", content="%", sha256="0"), tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file with other content stays; one with the same content is fine."""
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(WorkplaceError, match="other content"):
        lay_out(sent("x"), tmp_path)
    assert (tmp_path / "x").read_bytes() == b"mine"
    lay_out(sent("y"), tmp_path)
    lay_out(sent("y"), tmp_path)


def test_after_the_start_nothing_is_touched(tmp_path: Path) -> None:
    """A command that was started may have changed or removed what it found: nothing is laid out or checked again."""
    again = task(tmp_path / "own", cwd="/gone", cwd_given=True, files=(sent("x"),))
    cast(Any, again).started = True
    again.record.data["pwd"] = "/gone"
    assert prepare(again).cwd == Path("/gone")
    assert list((tmp_path / "own").iterdir()) == []
