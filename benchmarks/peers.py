"""Other systems, each in an environment of its own: installed when first asked for, started, measured, ended.

What runs inside an environment are the scripts in `peer/`; each prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.site import ROOT, wait_for

#: name -> what pip is asked for
PACKAGES = {
    "dramatiq": ("dramatiq[redis]",),
    "celery": ("celery[redis]",),
    "rq": ("rq",),
    "hyperqueue": ("hyperqueue",),
    "taskiq-nats": ("taskiq-nats",),
}
#: the single-process program that qme makes anew
ORIGINAL = {"original": ("qme==0.0.14",)}
#: those that are asked for fewer tasks: they would take minutes
SLOW = {"rq": 10, "taskiq-nats": 10}
#: those whose clients wait a second for each task, by asking now and then
PATIENT = {"hyperqueue": 10}
#: seconds that one system may take
PATIENCE = 600


class NotHere(Exception):
    """The system can't be had on this machine."""


def environment(name: str) -> Path:
    """Give the Python of a system's own environment, made where there is none. Raises NotHere."""
    home = Path(os.environ.get("QME_BENCH_PEERS") or Path.home() / ".cache/qme-bench")
    folder = home / name
    python = folder / "bin/python"
    if not (folder / ".ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-qq", *(PACKAGES | ORIGINAL)[name]],
                check=True,
                capture_output=True,
            )
        except subprocess.CalledProcessError as error:
            raise NotHere(f"it can't be installed: {error.stderr.decode()[-200:].strip()}") from error
        (folder / ".ready").touch()
    return python


def measure(name: str, tasks: int, latencies: int, together: int) -> dict[str, Any]:
    """Give rate and latencies of a system. Raises NotHere."""
    python = environment(name)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder, _broker(name, Path(folder)) as url:
        few, rounds = max(20, tasks // SLOW.get(name, 1)), min(latencies, PATIENT.get(name, latencies))
        script = Path(__file__).parent / "peer" / f"{name.replace('-', '_')}_peer.py"
        try:
            done = subprocess.run(
                [python, script, url, str(few), str(rounds), str(together)],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(script.parent),
                    "PATH": f"{python.parent}:{os.environ['PATH']}",
                },
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise NotHere(f"it was not done in {PATIENCE} s") from late
        if done.returncode:
            raise NotHere(f"it failed: {done.stderr[-300:].strip()}")
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


@contextmanager
def _broker(name: str, folder: Path) -> Iterator[str]:
    """Start what a system keeps its queue in; gives its address."""
    if name == "hyperqueue":
        yield str(folder)
        return
    if name == "taskiq-nats":
        from qme.testing.nats import NatsServer

        with NatsServer(folder / "nats", users='{ user: peer, password: "peer" }') as server:
            yield f"nats://peer:peer@127.0.0.1:{server.port}"
        return
    subprocess.run([ROOT / "scripts/need", "redis-server", "redis-server"], check=False, capture_output=True)
    if not shutil.which("redis-server"):
        raise NotHere("there is no redis-server")
    socket = folder / "redis.sock"
    # Synced once a second, as qme's bus is.
    options = ["--port", "0", "--unixsocket", socket, "--appendonly", "yes", "--appendfsync", "everysec"]
    process = subprocess.Popen(
        ["redis-server", *options, "--dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(socket.exists)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()
