"""What of an attempt gets into its record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qme.contracts.messages import MAX_RECORD
from qme.contracts.tasks import TaskRecord
from qme.worker.export import EXCERPT, excerpts, fit, lines, plain


def record(data: dict[str, Any]) -> TaskRecord:
    """Make a record with this data."""
    return TaskRecord(
        uid="shell-0",
        executor="shell",
        pool="p",
        command="c",
        user="ann",
        created=datetime.now(UTC),
        data=data,
    )


def excerpt(tmp_path: Path, out: bytes, err: bytes = b"") -> dict[str, Any]:
    """Take the excerpts of this output."""
    (tmp_path / "out").write_bytes(out)
    (tmp_path / "err").write_bytes(err)
    return excerpts(tmp_path / "out", tmp_path / "err", {"stdout": len(out), "stderr": len(err)})


def test_lines_keep_their_ends() -> None:
    """Output is a list of lines with their newline; only a newline ends a line."""
    assert lines(b"a\r\nb\x0cc\n\nlast") == ["a\r\n", "b\x0cc\n", "\n", "last"]
    assert lines(b"") == []


def test_bytes_that_are_no_text() -> None:
    """What is not UTF-8 is spelled out and loses nothing."""
    assert lines(b"\xff\xc3\xa9\n") == ["\\xff\u00e9\n"]


def test_small_output_is_whole(tmp_path: Path) -> None:
    """Output below the limit stands in the record as it is."""
    data = excerpt(tmp_path, b"x" * EXCERPT)
    assert data["output"] == ["x" * EXCERPT]
    assert data["error"] == []
    assert (data["output_bytes"], data["output_truncated"], data["truncated"]) == (EXCERPT, False, False)


def test_large_output_keeps_head_and_tail(tmp_path: Path) -> None:
    """Of large output whole lines of head and tail remain, and how many bytes are missing."""
    text = "".join(f"line {number}\n" for number in range(100_000)).encode()
    data = excerpt(tmp_path, text, b"oops\n")
    output = data["output"]
    assert output[0] == "line 0\n"
    assert output[-1] == "line 99999\n"
    (gap,) = [line for line in output if line.startswith("[…")]
    kept = sum(len(line) for line in output if line is not gap)
    assert gap == f"[… {len(text) - kept} bytes left out …]\n"
    assert kept < EXCERPT
    assert all(line.endswith("\n") for line in output)
    assert (data["output_bytes"], data["truncated"], data["error"]) == (len(text), True, ["oops\n"])


def test_both_streams_large(tmp_path: Path) -> None:
    """Two large streams share the room."""
    data = excerpt(tmp_path, b"o" * 100_000, b"e" * 100_000)
    size = sum(len(line) for name in ("output", "error") for line in data[name])
    assert size < EXCERPT + 200


@pytest.mark.parametrize("shift", range(4))
def test_no_half_characters(tmp_path: Path, shift: int) -> None:
    """A cut never goes through a character."""
    data = excerpt(tmp_path, b"a" * shift + "\U0001f600".encode() * 10_000)
    assert "\\x" not in "".join(data["output"])


def test_output_that_was_cut_off(tmp_path: Path) -> None:
    """A command that truncated its own output leaves what its file still holds, and the count of all it wrote."""
    (tmp_path / "out").write_bytes(b"rest\n")
    data = excerpts(tmp_path / "out", tmp_path / "gone", {"stdout": 100, "stderr": 0})
    assert (data["output"], data["output_bytes"], data["output_truncated"]) == (["rest\n"], 100, True)


def test_plain_values() -> None:
    """Whatever an executor exports can be written as JSON and UTF-8."""
    value = {"path": "caf\udce9", "n": float("nan"), 3: (Path("/x"), {1})}
    assert plain(value) == {"path": "caf\\udce9", "n": "nan", "3": ["/x", [1]]}


def test_a_record_stays_within_its_size() -> None:
    """The largest exports make way, and the record says which."""
    fitted = fit(record({"cmd": ["x" * 100] * 2_000, "output": ["\x01" * 20_000], "pid": 7}))
    assert fitted.data == {"pid": 7, "output": ["\x01" * 20_000], "left_out": ["cmd"]} or fitted.data == {
        "pid": 7,
        "left_out": ["cmd", "output"],
    }
    assert len(fitted.model_dump_json()) <= MAX_RECORD


def test_a_small_record_is_left_alone() -> None:
    """A record that fits is not touched."""
    small = record({"pid": 7})
    assert fit(small) is small
