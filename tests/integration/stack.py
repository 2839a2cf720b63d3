"""A real local stack for the tests of whole commands: its own QME_HOME, the real `qme` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil


class Stack:
    """Runs `qme` as a person would, against one QME_HOME."""

    def __init__(self, home: Path, env: Mapping[str, str] | None = None) -> None:
        self.home = home
        dropped = ("QME_", "NATS_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        self.env = {
            **clean,
            "QME_HOME": str(home),
            "QME_SITE_CONFIG": str(home / "no-site-config"),
            **(env or {}),
        }

    def command(self, *words: str) -> list[str]:
        """The argv of a qme command: the installed program, as `-m` would import from the working folder."""
        return [str(Path(sys.executable).with_name("qme")), *words]

    def qme(
        self,
        *words: str,
        cwd: Path | None = None,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a qme command to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=cwd or self.home,
            env={**self.env, **(env or {})},
            input=(stdin or "").encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def start(
        self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a qme command and go on; its output comes unbuffered through pipes."""
        return subprocess.Popen(
            self.command(*words),
            cwd=cwd or self.home,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ok(self, *words: str, **options: Any) -> str:
        """Run a qme command that must succeed and give its standard output."""
        done = self.qme(*words, **options)
        assert done.returncode == 0, f"qme {' '.join(words)}: {done.returncode} {done.stderr.decode()}"
        return done.stdout.decode()

    def lines(self, *words: str, **options: Any) -> list[str]:
        """Standard output of a command that must succeed, by lines."""
        return self.ok(*words, **options).split("\n")[:-1]

    def record(self, uid: str) -> dict[str, Any]:
        """A task's record as `qme get` prints it."""
        found: dict[str, Any] = json.loads(self.ok("get", uid))
        return found

    def records(self, ids: list[str]) -> list[dict[str, Any]]:
        """Several tasks' records as `qme ls --json` prints them."""
        found: list[dict[str, Any]] = json.loads(self.ok("ls", *ids, "--json", "--limit", str(len(ids))))
        return found


def processes(stack: Stack, *words: str) -> list[psutil.Process]:
    """Processes of this stack whose command line holds all the words; found by their QME_HOME, never by name alone."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            ours = process.environ().get("QME_HOME") == str(stack.home) or str(stack.home) in line
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if ours and all(word in line for word in words) and process.pid != os.getpid():
            found.append(process)
    return found


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something holds; fail when it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def installed(package: Path, place: Path) -> Path:
    """Install a package into a folder of its own and nowhere else; gives the folder."""
    words: list[str | Path] = ["-m", "pip", "install", "-qq", "--no-build-isolation", "--no-deps"]
    subprocess.run([sys.executable, *words, "--target", place, package], check=True, timeout=120)
    return place
