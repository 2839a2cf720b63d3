"""Runs the rows of the table through the real `qme`: submits them, does to their jobs what they say, brings back the
records. Judges nothing; that is `test_fates`'s.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.fates import Fate

Record = dict[str, Any]
#: seconds that jobs are given to come to where something is done to them, and to their ends
PATIENCE = 240


def prepare(folder: Path) -> None:
    """Lay out what the rows' commands find in their folder."""
    (folder / "below").mkdir(parents=True)
    (folder / "input.txt").write_text("from a file\n")
    (folder / "job.sh").write_text('#!/bin/sh\n#SBATCH --output=job-%j.txt\necho got "$1"\n')
    elsewhere(folder).mkdir()
    (elsewhere(folder) / "sent.sh").write_text("#!/bin/sh\necho sent\n")


def elsewhere(folder: Path) -> Path:
    """Give the folder of a script that the job's own does not have."""
    return folder.with_name(f"{folder.name}-elsewhere")


@dataclass
class Run:
    """One run of the table."""

    qme: Stack
    slurm: Cluster
    folder: Path
    #: task ids by row
    uids: dict[str, str] = field(default_factory=dict)
    #: reasons while they waited
    waited: dict[str, str] = field(default_factory=dict)
    #: records after the end
    records: dict[str, Record] = field(default_factory=dict)

    def all(self, fates: Sequence[Fate]) -> None:
        """Run these rows to their ends."""
        later = [fate for fate in fates if fate.waits_for_another]
        last = [fate for fate in fates if fate.harms_others]
        first = [fate for fate in fates if fate.plain and fate not in (*later, *last)]
        others = [fate for fate in fates if not fate.plain]
        with ThreadPoolExecutor(2) as pool:
            self.submit(first)
            submitted = pool.map(self._one, others)
            self.act([fate for fate in first if fate.act])
            if needed := {name for fate in later for name in _others(fate)}:
                self.wait(needed)
                self.submit(later)
            self.uids |= dict(zip((fate.name for fate in others), submitted, strict=True))
        self.act([fate for fate in later if fate.act])
        if last:
            self.wait(self.uids)
            self.submit(last)
            self.act(last)
        self.wait(self.uids, "--output")

    def submit(self, fates: Sequence[Fate]) -> None:
        """Hand rows over that need no more than a line each, all in one command."""
        lines = "".join(f"{self._filled(fate.command)}\n" for fate in fates)
        printed = self.qme.lines("submit", "--file", "-", stdin=lines, cwd=self.folder)
        self.uids |= dict(zip((fate.name for fate in fates), printed, strict=True))

    def act(self, fates: Sequence[Fate]) -> None:
        """Do to jobs what their rows say, as soon as they stand so."""
        left = {fate.name: fate for fate in fates}
        end = time.monotonic() + PATIENCE
        while left and time.monotonic() < end:
            self.read(left)
            ready = [fate for name, fate in left.items() if self._stands(name, fate)]
            if any(fate.harms_others for fate in ready) and len(ready) < len(left):
                continue  # one loss for all of them
            for act in {fate.act for fate in ready}:
                self._do(act, [fate for fate in ready if fate.act == act])
            for fate in ready:
                self.waited[fate.name] = str(self.records[fate.name]["reason"] or "")
                del left[fate.name]
        assert not left, [self._standing(name) for name in left]

    def wait(self, names: Collection[str], *options: str) -> None:
        """Wait for the end of rows, and bring their records."""
        self.qme.qme(
            "wait", "--timeout", str(PATIENCE), *(self.uids[name] for name in names), timeout=PATIENCE + 60
        )
        self.read(names, *options)
        ended = {name for name in names if self.records[name]["status"] in {"complete", "cancelled", "lost"}}
        assert ended == set(names), [self._standing(name) for name in names if name not in ended]

    def read(self, names: Iterable[str], *options: str) -> None:
        """Bring the records of rows; ``--output``: with their output."""
        by_uid = {self.uids[name]: name for name in names}
        for line in self.qme.lines("export", "slurm", *options):
            record = json.loads(line)
            if name := by_uid.get(record["uid"]):
                self.records[name] = record

    def job(self, name: str) -> int:
        """A row's job."""
        return int(self.records[name]["data"]["jobid"])

    def _standing(self, name: str) -> tuple[object, ...]:
        """Say how a row stands that got nowhere."""
        record = self.records[name]
        data = record["data"]
        return name, record["status"], record["reason"], data.get("slurm_state"), data.get("slurm_reason")

    def _one(self, fate: Fate) -> str:
        given = ["--stdin", "-"] if fate.script else []
        options = [self._filled(word) for word in fate.options]
        words = [self._filled(word) for word in (fate.program, *fate.arguments)]
        return self.qme.ok("submit", *given, *options, *words, cwd=self.folder, stdin=fate.script).strip()

    def _filled(self, text: str) -> str:
        text = text.replace("{work}", str(self.folder)).replace("{elsewhere}", str(elsewhere(self.folder)))
        return re.sub(r"\{job of ([\w-]+)\}", lambda found: str(self.job(found[1])), text)

    def _stands(self, name: str, fate: Fate) -> bool:
        """A job is where something is to be done to it."""
        record = self.records[name]
        if fate.act.endswith("waiting"):
            return bool(record["reason"] == fate.waits)
        if record["status"] != "running":
            return False
        if fate.counts:
            counts = record["data"].get("array", {})
            ended = fate.counts.get("success", 0)
            return bool(
                counts.get("success", 0) == ended and counts.get("running") == fate.counts["total"] - ended
            )
        # What it has written before must have been seen, since Slurm begins the file anew.
        return "requeue" not in fate.act or self.qme.ok("logs", self.uids[name]) == "first\n"

    def _do(self, act: str, fates: Sequence[Fate]) -> None:
        jobs = [str(self.job(fate.name)) for fate in fates]
        match act.partition(",")[0]:
            case "qme cancel":
                self.qme.ok("cancel", *(self.uids[fate.name] for fate in fates))
            case "qme exec release":
                for fate in fates:
                    self.qme.ok("exec", self.uids[fate.name], "release")
            case "scancel":
                self.slurm.ok(["scancel", *jobs])
            case "scontrol requeue":
                self.slurm.ok(["scontrol", "requeue", ",".join(jobs)])
            case "node set down":
                self._lose_a_node()

    def _lose_a_node(self) -> None:
        """Have Slurm take n2 for lost, until its daemon reports again."""
        self.slurm.ok(["scontrol", "update", "nodename=n2", "state=down", "reason=table"])
        wait_until(lambda: "idle" in self.slurm.ok(["sinfo", "-h", "-n", "n2", "-o", "%T"]), 120)


def _others(fate: Fate) -> list[str]:
    return re.findall(r"\{job of ([\w-]+)\}", " ".join(fate.words))
