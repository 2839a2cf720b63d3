"""What is said of a job's output file: its end, or why there is none."""

from __future__ import annotations

import os
from pathlib import Path

from qme_executor_slurm.outputs import MOST, read


def test_a_file(tmp_path: Path) -> None:
    """All of a small one; other bytes than UTF-8 are spelled out."""
    (tmp_path / "out").write_bytes(b"ok \xff\n")
    found = read(str(tmp_path / "out"), "RUNNING")
    assert (found.text, found.note) == ("ok \\xff\n", None)


def test_a_large_file(tmp_path: Path) -> None:
    """Its end, and how much is left out."""
    (tmp_path / "out").write_bytes(b"a" * 10 + b"b" * MOST)
    found = read(str(tmp_path / "out"), "RUNNING")
    assert found.text == "b" * MOST
    assert found.note == f"the first 10 bytes of {tmp_path}/out are left out"


def test_no_file_yet(tmp_path: Path) -> None:
    """It says so, and how the job stands; the same where the folder is missing."""
    for path in (tmp_path / "out", tmp_path / "no" / "out"):
        found = read(str(path), "PENDING")
        assert (found.text, found.note) == (None, f"{path} does not exist (yet); the job is PENDING")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe is not read, which would take from its reader or wait for ever; nor is a folder."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        assert read(str(path), "RUNNING").note == f"{path} is no plain file"


def test_no_path() -> None:
    """Slurm has not told where the output goes."""
    assert "has not told" in str(read(None, "PENDING").note)
