"""A container engine for the tests: the one that runs on this machine, else Docker's own daemon, started for them with
all of its state in one scratch folder and ended with it. Knows no image and no container.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

#: seconds until a daemon that does not answer counts as failed, and that its end may take
_START, _END = 30.0, 30.0
#: what to try in turn: a kernel may lack overlays, or the right to change its packet filter
_WAYS = (
    (),
    ("--storage-driver", "vfs"),
    ("--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--ip-masq=false"),
)


class NoEngine(Exception):
    """None runs here, and none can be started."""


@contextmanager
def engine() -> Iterator[None]:
    """Have an engine at DOCKER_HOST while the context lasts. Raises NoEngine with the daemon's last words."""
    if _answers():
        yield
        return
    program = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        raise NoEngine("no container engine runs here, and dockerd is missing or we are not root")
    # A short path: the daemon puts sockets below it. Not pytest's, which keeps its folders for a while.
    folder = Path(tempfile.mkdtemp(prefix="qme-docker-"))
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = f"unix://{folder}/socket"
    daemon = None
    try:
        words = ""
        for way in _WAYS:
            daemon = _start(program, folder, way)
            if daemon is not None:
                break
            words += (folder / "log").read_text()[-600:]
        if daemon is None:
            raise NoEngine(f"dockerd does not start here: {words}")
        yield
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
        if daemon is not None:
            _end(daemon)
        shutil.rmtree(folder, ignore_errors=True)


def _answers() -> bool:
    try:
        client = docker.from_env(timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except DockerException:
        return False


def _start(program: str, folder: Path, way: tuple[str, ...]) -> subprocess.Popen[bytes] | None:
    argv = [program, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    argv += ["--pidfile", f"{folder}/pid", "--host", os.environ["DOCKER_HOST"], "--bridge", "none", *way]
    if (setpriv := shutil.which("setpriv")) is not None:  # it does not outlive tests that are killed
        argv = [setpriv, "--pdeathsig", "TERM", "--", *argv]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and daemon.poll() is None:
        if _answers():
            return daemon
        time.sleep(0.1)
    _end(daemon)
    return None


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(_END)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
