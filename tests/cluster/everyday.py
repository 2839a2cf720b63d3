"""What people do with qme, held to what they may expect; while the bus is in trouble it may only take longer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.integration.stack import Stack

#: seconds that a command may take while a leader is elected, on a busy machine
PATIENCE = 120
#: every node with every fault, not one of each
ALL = bool(os.environ.get("QME_TEST_ALL"))


def everyday(site: Stack) -> None:
    """Submit, get at once, run, wait, logs -f, rerun, cancel, list executors."""
    uid = site.ok("submit", "echo", "hello", timeout=PATIENCE).strip()
    assert site.record(uid)["command"] == "echo hello"
    assert site.ok("run", "echo", "hello moto", timeout=PATIENCE) == "hello moto\n"
    site.ok("wait", uid, timeout=PATIENCE)
    assert site.ok("logs", "-f", uid, timeout=PATIENCE) == "hello\n"
    site.ok("rerun", uid, timeout=PATIENCE)
    site.ok("wait", uid, timeout=PATIENCE)
    record = site.record(uid)
    assert (record["attempt"], record["outcome"]) == (2, "success")
    long = site.ok("submit", "sleep", "600", timeout=PATIENCE).strip()
    site.ok("cancel", long, timeout=PATIENCE)
    site.qme("wait", long, timeout=PATIENCE)
    assert site.record(long)["outcome"] == "cancelled"
    assert "\tonline\t" in site.ok("executors", timeout=PATIENCE)


class Counting:
    """`qme run` of a command that counts, slowly, and notes each of its starts; begun before something breaks."""

    def __init__(self, site: Stack, folder: Path, lines: int = 30) -> None:
        self._marks = folder / "marks"
        self._lines = lines
        count = f"echo $$ >> {self._marks}; for i in $(seq {lines}); do echo $i; sleep 0.3; done"
        self._process = site.start("run", "sh", "-c", count)
        assert self._process.stdout is not None
        self._first = self._process.stdout.readline()

    def ended_well(self) -> str:
        """Hold that it was started once and seen whole, each line once; gives what was said on stderr."""
        try:
            out, err = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        said = err.decode()
        whole = b"".join(b"%d\n" % number for number in range(1, self._lines + 1))
        assert (self._first + out, self._process.returncode) == (whole, 0), said
        assert len(self._marks.read_text().split()) == 1
        return said
