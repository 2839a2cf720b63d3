"""Reads the shipped systemd units, and does with one what systemd would: there is none running where tests run.

What is done here: specifiers, Environment=, EnvironmentFile=, splitting ExecStart=, and whom a stop ends. Nothing else.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy/systemd"
#: where units expect the programs, and where they are here
INSTALLED, HERE = "/opt/qme/", f"{sys.prefix}/"
#: how much slower a busy machine may be than what a unit allows for
BUSY = 4


class Unit:
    """One unit file as an instance: `specifiers` are %i, %h and the like, `moved` maps its paths to the test's."""

    def __init__(
        self, path: Path, specifiers: Mapping[str, str] | None = None, moved: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self._specifiers = dict(specifiers or {})
        self._moved = {INSTALLED: HERE, **(moved or {})}
        self._lines = [
            line.partition("=")[::2]
            for line in path.read_text().splitlines()
            if "=" in line and not line.startswith(("#", ";", "["))
        ]

    def all(self, key: str) -> list[str]:
        """Each value that a key was given."""
        return [self._expanded(value) for name, value in self._lines if name == key]

    def one(self, key: str, default: str = "") -> str:
        """Give a key's value; the last one counts."""
        return (self.all(key) or [default])[-1]

    def environment(self) -> dict[str, str]:
        """What the service finds in its environment because of the unit: files go before Environment=."""
        found: dict[str, str] = {}
        for line in self.all("Environment"):
            found |= dict(word.split("=", 1) for word in shlex.split(line))
        for name in self.all("EnvironmentFile"):
            path = Path(name.removeprefix("-"))
            if not path.exists() and name.startswith("-"):
                continue
            for line in path.read_text().splitlines():
                if line.strip() and not line.startswith(("#", ";")):
                    key, _, value = line.partition("=")
                    quoted = value[:1] in ("'", '"')
                    found[key] = " ".join(shlex.split(value)) if quoted else value.strip()
        return found

    def argv(self, line: str | None = None, env: Mapping[str, str] | None = None) -> list[str]:
        """Give the words of a command, ExecStart= by default: one that is $NAME alone is split at its spaces."""
        known = {**self.environment(), **(env or {})}
        words: list[str] = []
        for word in shlex.split(self.one("ExecStart") if line is None else line):
            if word.startswith("$"):
                words += known.get(word[1:].strip("{}"), "").split()
            else:
                words.append(word)
        return words

    def start(self, log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start what it starts, with its environment over `env`, and its output in a file."""
        with log.open("ab") as file:
            return subprocess.Popen(
                self.argv(),
                env={**env, **self.environment()},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def stop(self, main: subprocess.Popen[bytes], cgroup: Iterable[psutil.Process]) -> None:
        """Stop it as KillMode= says: the main process alone, or whatever lives in the unit's control group."""
        rest = [] if self.one("KillMode", "control-group") == "process" else list(cgroup)
        for number in (self.one("KillSignal", "SIGTERM"), "SIGKILL"):
            for pid in (main.pid, *(process.pid for process in rest)):
                if psutil.pid_exists(pid):
                    os.kill(pid, signal.Signals[number])
            try:
                main.wait(BUSY * float(self.one("TimeoutStopSec", "90")))
            except subprocess.TimeoutExpired:
                continue
            if not rest:
                return
            psutil.wait_procs(rest, timeout=5)

    def _expanded(self, value: str) -> str:
        text = re.sub(r"%(.)", lambda found: self._specifiers[found[1]], value.strip())
        for place, ours in self._moved.items():
            text = text.replace(place, ours)
        return text


def shipped() -> list[Path]:
    """All unit files."""
    return sorted(UNITS.glob("*/*.service"))
