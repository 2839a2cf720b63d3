"""An executor that a stranger writes: made by `qme executor new`, tested, installed, routed to, run, and gone again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.stack import Stack, installed

from qme.cli.entry import run
from qme.cli.scaffold import write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it was written."""
    return write("my_tool", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def place(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own into which it is installed, and nothing else."""
    return installed(package, tmp_path_factory.mktemp("site") / "site")


def test_its_own_tests_pass_at_once(package: Path, place: Path) -> None:
    """As they were written, by a pytest that knows nothing of this project."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "--rootdir",
            package,
            "tests",
        ],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_it_can_be_checked_without_them(place: Path, tmp_path: Path) -> None:
    """`qme executor check` tells what was tried, and fails where the executor does."""
    env = os.environ | {"PYTHONPATH": str(place), "QME_HOME": str(tmp_path), "QME_MY_TOOL_PROGRAM": "env"}
    ask: list[str | Path] = [Path(sys.executable).parent / "qme", "executor", "check", "my_tool"]
    good = subprocess.run(
        [*ask, "--succeeds", "my_tool true", "--fails", "my_tool false"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    results = dict(line.split("\t")[:2] for line in good.stdout.splitlines())
    assert good.returncode == 0, good.stdout + good.stderr
    assert results["ends well"] == results["ends badly"] == "ok"
    assert results["can be cancelled"] == "not tried"
    bad = subprocess.run(
        [*ask, "--succeeds", "my_tool false"], env=env, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 1
    assert "'my_tool false' ended as failed" in bad.stdout


def test_it_takes_commands_until_it_is_gone(stack: Stack, place: Path) -> None:
    """Its worker makes it known; it is shown and measured like any other; without it, its commands are nobody's."""
    worker = stack.start("worker", "my_tool", env={"PYTHONPATH": str(place)})
    try:
        deadline = time.monotonic() + 40
        while "my_tool" not in stack.ok("executors"):
            assert worker.poll() is None, worker.communicate()[1].decode()
            assert time.monotonic() < deadline
        done = stack.qme("run", "my_tool", "hello", "moto")
        assert (done.returncode, done.stdout) == (0, b"hello moto\n"), done.stderr
        record = stack.record("last")
        assert (record["executor"], record["data"]["program"], record["data"]["words"]) == (
            "my_tool",
            "echo",
            2,
        )
        assert stack.ok("exec", "count").strip() == "2"
    finally:
        worker.terminate()
        worker.communicate(timeout=30)
    stack.ok("executors", "forget", "my_tool")
    assert "my_tool" not in stack.ok("executors")


def test_nothing_is_overwritten(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second one of that name is refused; so is a name that can't be one."""
    assert run(["executor", "new", "my_tool", "--in", str(package.parent)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(["executor", "new", "My-Tool", "--in", str(package.parent)]) == 2
