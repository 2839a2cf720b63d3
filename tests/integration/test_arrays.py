"""Arrays as they are typed, on a whole local stack: what each task is told, how many at once, through kills."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

from tests.integration.stack import Stack, processes, until


def _written(folder: Path) -> list[str]:
    return sorted(line for path in folder.iterdir() for line in path.read_text().splitlines())


def _have_run(folder: Path, least: int) -> bool:
    return len(list(folder.glob("ran.*"))) >= least


def test_indices_lines_and_objects(stack: Stack, tmp_path: Path) -> None:
    """One id is printed, and each task finds what is its own in its environment or its words."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "lines").write_text("a b\n\nc\n")
    (tmp_path / "objects").write_text(json.dumps([{"X": 1}, {"X": "two"}]))
    script = f'echo "$QME_ARRAY_INDEX $QME_LINE $X $1" > {out}/$QME_UID'
    command = ("sh", "-c", script, "sh", "<{}>")
    (head,) = stack.lines("submit", "--wait", "--array", "2-6:2", *command)
    assert _written(out) == ["2   <{}>", "4   <{}>", "6   <{}>"]
    record = stack.record(head)
    assert (record["outcome"], record["array"]["made"], record["array"]["success"]) == ("success", 3, 3)
    for path in out.iterdir():
        path.unlink()
    stack.ok("submit", "--wait", "--each-line", str(tmp_path / "lines"), *command)
    assert _written(out) == ["1 a b  <a b>", "2 c  <c>"]
    for path in out.iterdir():
        path.unlink()
    stack.ok("submit", "--wait", "--from-json", str(tmp_path / "objects"), *command)
    assert _written(out) == ["1  1 <{}>", "2  two <{}>"]


def test_an_array_is_one_thing(stack: Stack) -> None:
    """Its group can be waited for, what failed of it rerun, and the rest of it cancelled."""
    script = 'test "$QME_ARRAY_INDEX" != 2 -o -e "$0"'
    done = stack.qme("submit", "--wait", "--array", "1-3", "--group", "once", "sh", "-c", script, "/nowhere")
    assert done.returncode == 1
    assert b"@once, 3 tasks" in done.stderr
    assert len(stack.lines("ls", "@once")) == 4
    stack.ok("rerun", "--failed", "@once")
    assert stack.qme("wait", "@once").returncode == 1
    attempts = [record["attempt"] for record in json.loads(stack.ok("ls", "@once", "--json"))]
    assert sorted(attempts) == [1, 1, 1, 2]
    (head,) = stack.lines("submit", "--array", "1-100000%2", "--group", "long", "sleep", "60")
    stack.ok("cancel", "@long")
    assert stack.qme("wait", "@long").returncode == 7
    assert stack.record(head)["outcome"] == "cancelled"


def test_the_submitter_is_killed_while_an_array_is_made(stack: Stack, tmp_path: Path) -> None:
    """Each task runs once, never two at a time on two slots, and none is missing."""
    folder = tmp_path / "ran"
    folder.mkdir()
    script = (
        f"mkdir {folder}/now.$QME_ARRAY_INDEX; ls {folder} | grep -c now > {folder}/count.$QME_ARRAY_INDEX"
    )
    script += f"; echo x >> {folder}/ran.$QME_ARRAY_INDEX; sleep 0.02; rmdir {folder}/now.$QME_ARRAY_INDEX"
    (head,) = stack.lines("submit", "--array", "1-40%1", "sh", "-c", script)
    for least in (1, 10):
        until(partial(_have_run, folder, least))
        (process,) = processes(stack, "-m", "qme_submitter")
        os.kill(process.pid, signal.SIGKILL)
    assert stack.qme("wait", head, "--timeout", "100", timeout=120).returncode == 0
    runs = [path.read_text() for path in folder.glob("ran.*")]
    assert runs == ["x\n"] * 40
    assert max(int(path.read_text()) for path in folder.glob("count.*")) == 1
