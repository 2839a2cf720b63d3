"""As much of systemctl as docs/deploy's pages use, for a test's folder: starts, stops and reloads what unit files name.

Called by a program of that name which stands first in PATH. It gives services a clean environment, the state
folders that they ask for, and of the hardening those two parts that a process can take upon itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from tests.deploy.units import BUSY, Unit

_NO_NEW_PRIVILEGES, _NO_WRITE_AND_EXECUTE = 38, 65
#: what systemd leaves to a service, and what a test adds so that nothing is read from this machine's /etc
_KEPT = ("LANG", "QME_SITE_CONFIG", "QME_HOST")


class Machine:
    """One machine's units. `root` stands for /, except for /opt, which all machines of a test share."""

    def __init__(self, root: Path, moved: dict[str, str], *, user: bool) -> None:
        self._root, self._moved, self._user = root, moved, user
        self._run = root / "run" / ("user" if user else "system")
        self._run.mkdir(parents=True, exist_ok=True)

    def start(self, name: str) -> None:
        """Start a unit, and remember its process."""
        unit = self._unit(name)
        for folder in unit.one("StateDirectory").split():
            (self._root / "var/lib" / folder).mkdir(0o700, parents=True, exist_ok=True)
        env = {key: os.environ[key] for key in _KEPT if key in os.environ}
        env |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        env |= {"HOME": os.environ["HOME"] if self._user else "/nonexistent", "INVOCATION_ID": "0" * 32}

        def harden() -> None:
            libc = ctypes.CDLL(None)
            if unit.one("NoNewPrivileges") == "yes":
                libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
            if unit.one("MemoryDenyWriteExecute") == "yes":  # kernels before 6.3 don't know it
                libc.prctl(_NO_WRITE_AND_EXECUTE, 1, 0, 0, 0)

        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                unit.argv(),
                env={**env, **unit.environment()},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=int(unit.one("UMask", "0022"), 8),
                preexec_fn=harden,
            )
        (self._run / f"{name}.pid").write_text(str(process.pid))

    def stop(self, name: str) -> None:
        """Send the main process a TERM, and wait; no shipped unit may need the KILL."""
        unit = self._unit(name)
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self._pid(name))
            if unit.one("KillMode", "control-group") != "process":
                for child in main.children(recursive=True):
                    child.send_signal(signal.SIGTERM)
            main.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + BUSY * float(unit.one("TimeoutStopSec", "90"))
            while main.is_running() and main.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    main.kill()
                    raise TimeoutError(f"{name} did not end in {BUSY} times its TimeoutStopSec=")
                time.sleep(0.05)

    def reload(self, name: str) -> None:
        """Run each ExecReload= in turn."""
        unit = self._unit(name)
        for line in unit.all("ExecReload"):
            subprocess.run(unit.argv(line, {"MAINPID": str(self._pid(name))}), check=True)

    def log(self, name: str) -> Path:
        """Where what a unit says goes, in the place of a journal."""
        return self._run / f"{name}.log"

    def _pid(self, name: str) -> int:
        return int((self._run / f"{name}.pid").read_text())

    def _unit(self, name: str) -> Unit:
        template, at, instance = name.removesuffix(".service").partition("@")
        path = self._root / "etc/systemd" / ("user" if self._user else "system") / f"{template}{at}.service"
        specifiers = {"i": instance, "h": os.environ["HOME"], "S": "/var/lib"}
        return Unit(path, specifiers, self._moved)


def main() -> None:
    """Do what the command line says."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    moved = dict(pair.split("=") for pair in os.environ["TEST_MOVED"].split(","))
    machine = Machine(Path(os.environ["TEST_ROOT"]), moved, user="--user" in sys.argv)
    verbs: dict[str, tuple[Callable[[str], None], ...]] = {
        "daemon-reload": (),
        "enable": (machine.start,),
        "restart": (machine.stop, machine.start),
        "reload": (machine.reload,),
    }
    if not words or words[0] not in verbs or ("--now" in sys.argv) != (words[0] == "enable"):
        sys.exit(f"this systemctl does not know {words}")
    for unit in words[1:]:
        for deed in verbs[words[0]]:
            deed(unit)


if __name__ == "__main__":
    main()
