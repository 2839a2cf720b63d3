"""Follows pages of docs/deploy in one folder: each machine is a subfolder with its own /etc, /var/lib and homes.

/opt is one for all machines. Programs that would change this machine, or need a running systemd, have stand-ins that
come first in PATH: `useradd`, `chown` and `loginctl` do nothing, `systemctl` is tests/deploy/systemctl.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import psutil
from tests.cluster.nodes import free_ports

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+) ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: seconds that a block may take (one installs all programs), and a service to become ready
BLOCK, PATIENCE = 400, 90
_PATHS = re.compile(r"(?<![\w.$~/})-])/(opt|etc|root|var/lib)(?=/)")
_NAME = "bus.example.org"
_MOVED = ("/etc/qme", "/var/lib")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    places: tuple[str, ...]  #: ACCOUNT@MACHINE, or FILE@MACHINE
    text: str


def blocks(page: Path) -> list[Block]:
    """Give a page's blocks, in order."""
    return [
        Block(kind, tuple(places.split()), text) for kind, places, text in FENCE.findall(page.read_text())
    ]


class Site:
    """The machines of the pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nats, self.dashboard, self.exporter = free_ports(3)
        self._shims = folder / "shims"
        self._shims.mkdir()
        self._shim("python3", f'exec {sys.executable} "$@"')
        self._shim("systemctl", f'PYTHONPATH={ROOT} exec {sys.executable} -m tests.deploy.systemctl "$@"')
        for name in ("useradd", "chown", "loginctl"):
            self._shim(name, f'echo "{name} $*" >> {folder}/pretended')

    def follow(self, block: Block) -> str:
        """Do what a block says, wherever it says so; give what it printed."""
        printed = ""
        for place in block.places:
            if block.language == "sh":
                printed += self.run(place, block.text)
                if "/opt/" in block.text and "venv" in block.text:
                    break  # the other machines have the same /opt
            else:
                path, _, machine = place.partition("@")
                target = Path(self._moved(path, machine))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self._moved(block.text, machine))
        return printed

    def run(self, place: str, text: str, *, code: int = 0) -> str:
        """Run commands in a shell of ACCOUNT@MACHINE, in a clone of the project; give what they print."""
        account, _, machine = place.partition("@")
        root, home = self.folder / machine, self.home(place)
        clone = self.folder / machine / "clone"
        clone.mkdir(exist_ok=True)
        for there in ("etc/systemd/system", "etc/systemd/user", "var/lib", "root"):
            (root / there).mkdir(parents=True, exist_ok=True)
        for name in ("build", "deploy", "VERSION"):
            if not (clone / name).exists():
                (clone / name).symlink_to(ROOT / name)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QME_", "NATS_", "PYTHON"))}
        path = [str(self._shims), kept["PATH"]] + (
            [f"{self.folder}/opt/qme/bin"] if account != "root" else []
        )
        env = kept | {
            "HOME": str(home),
            "PATH": ":".join(path),
            "PIP_NO_COMPILE": "1",
            "QME_SITE_CONFIG": f"{root}/etc/qme/config",
            "QME_HOST": machine,
            "TEST_ROOT": str(root),
            "TEST_MOVED": ",".join(
                [f"/opt/qme/={self.folder}/opt/qme/", *(f"{each}={root}{each}" for each in _MOVED)]
            ),
        }
        done = subprocess.run(
            ["bash", "-euc", self._moved(text, machine)],
            cwd=clone,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK,
            check=False,
        )
        assert done.returncode == code, f"{place}: {text}\n{done.stdout}{done.stderr}\n{self.said()[-6000:]}"
        return done.stdout

    def home(self, place: str) -> Path:
        """Give the home of ACCOUNT@MACHINE."""
        account, _, machine = place.partition("@")
        home = self.folder / machine / (account if account == "root" else f"home/{account}")
        home.mkdir(parents=True, exist_ok=True)
        return home

    def hand_over(self) -> str:
        """Do what the page tells in words: keys and certificate reach their machines. Gives the worker's key."""
        bus, login = self.folder / "bus/etc/qme", self.folder / "login/etc/qme"
        login.mkdir(parents=True, exist_ok=True)
        for machine in (login, self.home("ann@laptop") / ".qme"):
            machine.mkdir(exist_ok=True)
            if (bus / "ca.pem").exists():
                shutil.copy(bus / "ca.pem", machine / "ca.pem")
        for name, place in (("nats.json", "ann@laptop"), ("worker.json", "ann@login")):
            target = self.home(place) / (".qme" if "laptop" in place else ".config/qme") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (given := self.home("root@bus") / "for-ann" / name).exists():
                shutil.copy2(given, target)
        return target.read_text() if target.exists() else ""

    def until_said(self, unit: str, words: str, times: int = 1) -> None:
        """Wait until a unit has said something so many times."""
        deadline = time.monotonic() + PATIENCE
        while self.said(unit).count(words) < times:
            assert time.monotonic() < deadline, f"{unit} never says {words}: {self.said()[-6000:]}"
            time.sleep(0.05)

    def until_ready(self, port: int) -> None:
        """Wait until a service says that it does its work."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, self.said()[-6000:]
                time.sleep(0.1)

    def said(self, unit: str = "*") -> str:
        """Give all that services, or one, have said, as a journal would hold it."""
        return "\n".join(
            f"-- {path.name}\n{path.read_text()}" for path in self.folder.glob(f"*/run/*/{unit}.log")
        )

    def processes(self) -> list[psutil.Process]:
        """Give every process of the site."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = str(self.folder) in " ".join(process.cmdline())
                ours = ours or process.environ().get("QME_HOME", "").startswith(str(self.folder))
            except psutil.Error:
                continue
            if ours and process.pid != os.getpid():
                found.append(process)
        return found

    def end(self) -> None:
        """End every process of the site."""
        processes = self.processes()
        for process in processes:
            process.terminate()
        for process in psutil.wait_procs(processes, timeout=10)[1]:
            process.kill()

    def secrets(self) -> set[str]:
        """Give every secret that was made."""
        found = {(self.folder / "bus/etc/qme/keys/dashboard-password").read_text().strip().partition(":")[2]}
        for path in self.folder.rglob("*.json"):
            try:
                content = json.loads(path.read_text())
            except ValueError:
                continue
            if isinstance(content, dict) and "seed" in content:
                found.add(content["seed"])
        return found

    def _moved(self, text: str, machine: str) -> str:
        text = text.replace("0.0.0.0:4222", f"127.0.0.1:{self.nats}").replace(
            f"{_NAME}:4222", f"localhost:{self.nats}"
        )
        text = text.replace(_NAME, "localhost")
        own = f"echo QME_METRICS_PORT={self.exporter} > /etc/qme/team-qme-exporter.env"
        text = text.replace("systemctl enable --now qme-nats", f"{own}\nsystemctl enable --now qme-nats")
        text = text.replace("QME_DASHBOARD_AUTH", f"QME_DASHBOARD_PORT={self.dashboard}\nQME_DASHBOARD_AUTH")
        return _PATHS.sub(lambda found: self._place(found[1], machine), text)

    def _place(self, where: str, machine: str) -> str:
        return f"{self.folder}/opt" if where == "opt" else f"{self.folder}/{machine}/{where}"

    def _shim(self, name: str, text: str) -> None:
        path = self._shims / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
