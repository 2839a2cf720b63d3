"""Real commands, run directly and through `qme run`: stdout, stderr and the exit code are equal byte for byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.integration.real_commands import ROWS, Row, page, prepare
from tests.integration.stack import Stack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of all commands, filled with their input."""
    place = tmp_path_factory.mktemp("real commands")
    prepare(place)
    return place


def directly(row: Row, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command without qme."""
    argv = ["/bin/sh", "-c", row.command] if isinstance(row.command, str) else row.command
    return subprocess.run(argv, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize("row", ROWS, ids=[row.shows for row in ROWS])
def test_same_as_directly(row: Row, folder: Path, stack: Stack) -> None:
    """Nothing is added, lost or changed on the way."""
    plain = directly(row, folder)
    words = [row.command] if isinstance(row.command, str) else row.command
    through = stack.qme("run", *words, cwd=folder, timeout=120)
    expected = plain.returncode if plain.returncode >= 0 else 128 - plain.returncode
    assert through.returncode == expected, through.stderr[-500:]
    assert through.stdout == plain.stdout
    assert through.stderr == plain.stderr


def test_every_exit_code(stack: Stack) -> None:
    """All of 0 to 255 come back as they are (as records: 256 whole runs would only cost time)."""
    ids = stack.lines("submit", "--file", "-", stdin="".join(f"exit {code}\n" for code in range(256)))
    stack.qme("wait", *ids, timeout=120)
    by_id = {record["uid"]: record for record in stack.records(ids)}
    assert [by_id[uid]["data"]["returncode"] for uid in ids] == list(range(256))


def test_program_that_does_not_exist(stack: Stack, folder: Path) -> None:
    """As a shell says it: 127, and a sentence that names the program."""
    done = stack.qme("run", "no-such-program-here", "x", cwd=folder)
    assert done.returncode == 127
    assert b"no-such-program-here" in done.stderr
    assert done.stdout == b""


def test_program_that_may_not_be_run(stack: Stack, folder: Path) -> None:
    """As a shell says it: 126."""
    done = stack.qme("run", "./not_executable", cwd=folder)
    assert done.returncode == 126
    assert b"not_executable" in done.stderr


def test_page_is_printed_from_the_table() -> None:
    """docs/real-commands.md holds what the table holds."""
    assert (ROOT / "docs" / "real-commands.md").read_text() == page()
