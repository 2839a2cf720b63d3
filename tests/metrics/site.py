"""A site with everything that has a page of metrics, under `qme auth`'s rights, and a Prometheus that reads it."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.security.site import LAB, PATIENCE, Site

from qme.contracts.rights import Place, Role

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HPC = Place("slurm", "hpc")
#: owners of the programs, by the kind of service
SERVICES = {
    "exporter": "exporter:prom",
    "submitter": "submitter:site",
    "worker": "worker:lab",
    "slurm": "worker:hpc",
    "dashboard": "dashboard:dash-main",
}


def until(look: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until a look says yes, and give what it saw."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if seen := look():
                return seen
        except (OSError, ValueError) as error:
            seen = str(error)
        assert time.monotonic() < deadline, f"{what}: {seen}"
        time.sleep(0.2)


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Watched:
    """The site; `ports` are those of the pages."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        self.token = folder / "metrics-token"
        self.token.touch(0o600)
        self.token.write_text(secrets.token_urlsafe(24))
        self.ports = {service: free_port() for service in SERVICES}
        for role, name in (
            (Role.SUBMITTER, "site"), (Role.USER, "ann"), (Role.OPERATOR, "olga"), (Role.EXPORTER, "prom"),
            (Role.DASHBOARD, "dash-main"),
        ):  # fmt: skip
            self.site.add(role, name)
        self.site.add(Role.WORKER, "lab", LAB)
        self.site.add(Role.WORKER, "hpc", HPC)

    def start(self) -> None:
        """Start all services, and wait until each is ready."""
        shared = ("--user", "*")
        self.serve("submitter", "qme-submitter")
        self.serve("worker", "qme", "worker", "shell", "--pool", "lab", *shared, QME_SHELL_SLOTS="4")
        self.serve("slurm", "qme", "worker", "slurm", "--pool", "hpc", *shared)
        self.serve("dashboard", "qme-dashboard", QME_DASHBOARD_PORT=str(self.ports["dashboard"]))
        self.serve("exporter", "qme", "exporter")
        for place in (LAB, HPC):
            self._approve(place)
        for service in SERVICES:
            self._ready(service)

    def _approve(self, place: Place) -> None:
        words = ("executors", "approve", place.executor, "--pool", place.pool)
        until(lambda: self.site.qme("operator:olga", *words).returncode == 0, f"{place} is approved")

    def _ready(self, service: str) -> None:
        until(lambda: self.status(service, "/readyz") == 200, f"{service} is ready")

    def serve(self, service: str, *argv: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a service, on its port."""
        env = {
            "QME_METRICS_TOKEN": str(self.token), "QME_METRICS_INTERVAL": "0.5", "QME_CONNECT_TIMEOUT": "2", **more,
        }  # fmt: skip
        if service != "dashboard":
            env["QME_METRICS_PORT"] = str(self.ports[service])
        return self.site.start(SERVICES[service], *argv, **env)

    def status(self, service: str, path: str) -> int:
        """Ask a service's page."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports[service]}{path}", timeout=10
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def statuses(self, path: str) -> dict[str, int]:
        """Ask all pages."""
        return {service: self.status(service, path) for service in SERVICES}


class Prometheus:
    """A Prometheus with the shipped configuration, made quicker, on this site."""

    def __init__(self, watched: Watched, folder: Path) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is not installed here")
        shutil.copytree(DEPLOY / "prometheus", folder)
        shutil.copy(watched.token, folder / "metrics-token")
        config = folder / "prometheus.yml"
        said = config.read_text()
        for slow in ("scrape_interval: 15s", "evaluation_interval: 15s", "refresh_interval: 1m"):
            assert slow in said
            said = said.replace(slow, f"{slow.partition(':')[0]}: 1s")
        config.write_text(said)
        targets = [
            {
                "labels": {"service": "worker" if service == "slurm" else service},
                "targets": [f"127.0.0.1:{port}"],
            }
            for service, port in watched.ports.items()
        ]
        (folder / "targets/qme.yml").write_text(json.dumps(targets))  # which is YAML, too
        self.url = f"http://127.0.0.1:{free_port()}"
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: self._get("/-/ready"), "Prometheus is ready")
        until(lambda: self.value('count(up{job="qme"} == 1)') == len(SERVICES), "all pages are read")

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def api(self, path: str, **query: str) -> Any:
        """Ask the API."""
        return json.loads(self._get(f"/api/v1/{path}?{urllib.parse.urlencode(query)}"))["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Give the series of an expression now."""
        found: list[dict[str, Any]] = self.api("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Give the one value of an expression; None where there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def by(self, label: str, expression: str) -> dict[str, int]:
        """Give the values of an expression that are not 0, by a label."""
        return {
            one["metric"][label]: int(float(one["value"][1]))
            for one in self.query(expression)
            if float(one["value"][1])
        }

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
