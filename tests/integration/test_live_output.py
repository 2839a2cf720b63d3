"""Output is seen as it is written, from `qme run` and from `qme logs -f` elsewhere."""

from __future__ import annotations

import json
import signal
import time

from tests.integration.stack import Stack

#: the command prints when it wrote each line, so that the test's own clock tells how late it came
THREE_LINES = "for i in 1 2 3; do date +%s.%N; sleep 1; done"


def delays(stack: Stack, *words: str) -> list[float]:
    """Seconds from a line's being written to its being printed here."""
    seen = []
    with stack.start(*words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(time.time() - float(line))
        assert process.wait() == 0
    return seen


def test_run_prints_each_line_within_300_ms(stack: Stack) -> None:
    """A person watches a command through `qme run` as if it ran here."""
    seen = delays(stack, "run", "sh", "-c", THREE_LINES)
    assert len(seen) == 3
    assert max(seen) < 0.3, seen


def test_another_follower_sees_the_same(stack: Stack) -> None:
    """`qme logs -f` begins with what there is, goes on live, and ends with the task."""
    uid = stack.ok("submit", "sh", "-c", f"echo 0; sleep 3; {THREE_LINES}").strip()
    seen = delays(stack, "logs", "-f", uid)
    assert len(seen) == 4
    assert max(seen[1:]) < 0.3, seen


def test_a_line_without_its_end_is_shown_too(stack: Stack) -> None:
    """A prompt or a progress bar has no newline; it is not held back until one comes."""
    with stack.start("run", "sh", "-c", "printf 50%%; sleep 3; printf '\\r100%%\\n'") as process:
        assert process.stdout is not None
        began = time.monotonic()
        assert process.stdout.read(3) == b"50%"
        assert time.monotonic() - began < 2.5
        assert process.stdout.read() == b"\r100%\n"


def test_ctrl_c_detaches_and_cancels_nothing(stack: Stack) -> None:
    """130, a sentence on how to come back, and the task goes on to its end."""
    with stack.start("run", "sh", "-c", "echo begun; sleep 2; echo ended") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        text = process.stderr.read().decode()
    assert "qme logs -f" in text
    assert "Traceback" not in text
    uid = json.loads(stack.ok("get"))["uid"]
    assert stack.qme("wait", uid).returncode == 0
    assert stack.ok("logs", uid) == "begun\nended\n"


def test_large_output_is_bounded_and_whole_in_the_spool(stack: Stack) -> None:
    """More than the limit of the log stream: head and tail in the record, the gap said, the byte count right."""
    size = 80_000_000
    uid = stack.ok("submit", "--wait", "sh", "-c", f"echo first; head -c {size} /dev/zero; echo last").strip()
    data = stack.record(uid)["data"]
    assert data["output_bytes"] == size + len("first\nlast\n")
    assert data["truncated"] is True
    assert data["output"][0] == "first\n"
    assert data["output"][-1].endswith("last\n")
    logs = stack.qme("logs", uid)
    assert logs.stdout.startswith(b"first\n")
    assert b"spool" in logs.stderr
    (kept,) = stack.home.glob(f"local/**/{uid[-36:]}.1/stdout")
    assert kept.stat().st_size == data["output_bytes"]
