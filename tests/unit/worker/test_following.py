"""Files that a scheduler's job writes become the task's output: whole, in order, nothing twice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.unit.worker.lab import Lab, until

from qme.contracts.subjects import TaskKey
from qme.executor.base import Result, Task
from qme.worker.following import Copy, following
from qme_executor_shell import ShellExecutor, ShellSettings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The file that is written elsewhere."""
    return tmp_path / "job.out"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The attempt's own file."""
    return tmp_path / "stdout"


def test_a_file_that_is_not_there_yet(source: Path, target: Path) -> None:
    """It is waited for, and nothing is made of it."""
    assert not Copy(source, target, 100).advance()
    assert not target.exists()


def test_a_file_system_that_remembers_that_there_was_none(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does, until somebody looks into the folder: a short job's output is not missed."""
    source.write_text("short\n")
    remembered = {source}
    real_open, real_scandir = os.open, os.scandir

    def opening(path: Path, *options: int) -> int:
        if path in remembered:
            raise FileNotFoundError
        return real_open(path, *options)

    def scanning(path: Path) -> object:
        remembered.clear()
        return real_scandir(path)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "scandir", scanning)
    grown = Copy(source, target, 100).advance()
    monkeypatch.undo()
    assert grown
    assert target.read_text() == "short\n"


def test_growth_is_copied_once(source: Path, target: Path) -> None:
    """Each look takes what is new, also one after a restart."""
    source.write_text("one\n")
    assert Copy(source, target, 100).advance()
    with source.open("a") as file:
        file.write("two\n")
    copy = Copy(source, target, 100)
    assert copy.advance()
    assert not copy.advance()
    assert target.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("second", ["", "2\n", "second run, longer than the first\n" * 9])
def test_a_file_written_anew_comes_behind_the_first(source: Path, target: Path, second: str) -> None:
    """A requeued job begins its file again, with less or with more than it had: nothing is lost."""
    source.write_text("first run\n")
    copy = Copy(source, target, 10_000)
    copy.advance()
    source.write_text(second)
    copy.advance()
    again = Copy(source, target, 10_000)
    with source.open("a") as file:
        file.write("end\n")
    again.advance()
    assert not again.advance()
    assert target.read_text() == "first run\n" + second + "end\n"


def test_the_limit(source: Path, target: Path) -> None:
    """No more than the limit is copied, however large the file is."""
    source.write_bytes(b"x" * 1000)
    Copy(source, target, 300).advance()
    assert target.stat().st_size == 300


def test_a_pipe_is_left_alone(tmp_path: Path, target: Path) -> None:
    """What is no plain file is not read: that would take it from its reader."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert not Copy(pipe, target, 100).advance()


async def test_the_end_is_taken_too(source: Path, target: Path) -> None:
    """What was written between the last look and the end is there."""
    async with following([Copy(source, target, 100)], 30.0, 30.0):
        await asyncio.sleep(0.05)
        source.write_text("late\n")
    assert target.read_text() == "late\n"


class Following(ShellExecutor):
    """Shows a file as the task's output."""

    async def execute(self, task: Task) -> Result:
        """Follow the file named by the command until it ends with a full stop."""
        await task.confirm()
        path = Path(task.spec.argv[0])
        async with task.follow({"stdout": path}, first=0.02, longest=0.1):
            while not (path.exists() and path.read_text().endswith(".")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return Result(0)


async def _is_there(lab: Lab, key: TaskKey, text: bytes) -> bool:
    return await lab.output(key) == text


async def test_the_output_is_the_tasks(lab: Lab, source: Path) -> None:
    """Live in the log stream, and in the record with its size; through a restart of the worker."""
    key = await lab.submit(str(source))
    source.write_text("begun")
    async with lab.worker(Following(ShellSettings())):
        await until(lambda: _is_there(lab, key, b"begun"))
    with source.open("a") as file:
        file.write(" and ended.")
    async with lab.worker(Following(ShellSettings())):
        record = await lab.ended(key)
    assert await lab.output(key) == b"begun and ended."
    assert record.data["output"] == ["begun and ended."]
    assert record.data["output_bytes"] == record.data["output_logged"] == 16
