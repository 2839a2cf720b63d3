"""An executor from outside the tree: the README's own lines, as a package, through a real stack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.stack import Stack, installed

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "executor-loud"


@pytest.fixture(scope="module")
def loud(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker of the example, which is installed into a folder of its own and nowhere else."""
    place = installed(EXAMPLE, tmp_path_factory.mktemp("loud") / "site")
    worker = stack.start("worker", "loud", env={"PYTHONPATH": str(place)})
    try:
        deadline = time.monotonic() + 30
        while "loud" not in stack.ok("executors"):
            assert worker.poll() is None, worker.communicate()[1].decode()
            assert time.monotonic() < deadline
        yield stack
    finally:
        worker.terminate()
        worker.communicate(timeout=30)
        stack.qme("executors", "forget", "loud")


@pytest.mark.parametrize("words", [("loud", "hello", "moto"), ("loud hello moto",), ("loud 'hello moto'",)])
def test_it_takes_its_commands(words: tuple[str, ...], loud: Stack) -> None:
    """Given as words or as one string, its commands go to it and to nobody else."""
    done = loud.qme("run", *words)
    assert (done.returncode, done.stdout) == (0, b"HELLO MOTO\n"), done.stderr
    assert loud.record("last")["executor"] == "loud"


def test_it_refuses_what_needs_a_shell(loud: Stack) -> None:
    """A pipe in a string can't be given to echo; the user is told."""
    done = loud.qme("run", "loud hello | cat")
    assert done.returncode == 125
    assert b"shell" in done.stderr


def test_its_actions_are_those_of_every_executor(loud: Stack) -> None:
    """Nothing had to be written for them."""
    assert "output" in loud.ok("exec", "loud")


def test_readme_shows_the_example_as_it_is() -> None:
    """Each line of the example's code stands in the README."""
    readme = (ROOT / "README.md").read_text()
    code = (EXAMPLE / "qme_executor_loud.py").read_text().split("class ", 1)[1]
    shown = [line for line in code.splitlines() if line.strip() and '"""' not in line]
    assert [line for line in shown if line.removeprefix("class ") not in readme] == []
    assert 'loud = "qme_executor_loud:LoudExecutor"' in readme
    assert os.access(EXAMPLE / "pyproject.toml", os.R_OK)
