"""Builds the project's images without a registry, and has deploy/compose.yaml brought up with them.

What is in that file stands there alone: tests ask Compose for it. The base image is one that debootstrap made from
Debian's packages, kept for a month in the user's cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.cluster.nodes import free_ports

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/compose.yaml"
#: an image with Python to build on, instead of one that is made here
BASE = os.environ.get("QME_TEST_BASE_IMAGE")
#: whether the wheels that are made here fit the base that is
PYTHON = sys.version_info[:2] == (3, 11)
NODES = ("n1", "n2", "n3")
PORTS = ("QME_NATS_PORT", "QME_NATS_PORT_2", "QME_NATS_PORT_3", "QME_DASHBOARD_PORT", "QME_PROMETHEUS_PORT")
#: Debian's Prometheus in an image, as its makers' can't be had: the same user, folders and arguments
PROMETHEUS = """
ARG BASE
FROM ${BASE}
COPY prometheus /bin/prometheus
RUN install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
"""
#: seconds for everything to be healthy, and for the images
PATIENCE, BUILDING = 400, 1200


def compose() -> list[str] | None:
    """Give the words that call Compose: the program of old, or the plug-in of today."""
    if (found := shutil.which("docker-compose")) is not None:
        return [found]
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else None


class Composed:
    """The site of the file, under a project name and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self._home = folder / "home"
        self._prefix = f"qme-test-{os.getpid()}-"
        self._ports = free_ports(len(PORTS))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}
        self._env = {
            **kept,
            # Debian's client knows how to ask for BuildKit, which is in the engine; newer ones need a plug-in.
            "PATH": f"/usr/bin:{kept['PATH']}:/usr/sbin:/sbin",
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_PROJECT_NAME": f"qmetest{os.getpid()}",
            "QME": str(Path(sys.executable).with_name("qme")),
            "QME_SITE": str(self.site),
            "QME_IMAGE_PREFIX": self._prefix,
            "QME_PROMETHEUS_IMAGE": f"{self._prefix}prometheus",
            **{name: str(port) for name, port in zip(PORTS, self._ports, strict=True)},
        }

    def build(self) -> None:
        """Build the images of the file, from local wheels on a local base."""
        base = BASE or f"{self._prefix}base"
        if BASE is None:
            self._run(["deploy/docker/base", base])
        wanted = set(re.findall(r"^ +SERVICE: (\S+)$", self._compose("config"), re.MULTILINE))
        words = [f"BASE={base}", f"IMAGE={self._prefix}{{}}", f"SERVICES={' '.join(sorted(wanted))}"]
        self._run(["make", "images", *words])
        if (program := shutil.which("prometheus")) is not None:
            context = self._home.parent / "prometheus"
            context.mkdir()
            shutil.copy(program, context / "prometheus")
            (context / "Dockerfile").write_text(PROMETHEUS)
            given = ["--network=none", "--build-arg", f"BASE={base}", "--tag", f"{self._prefix}prometheus"]
            self.docker("build", "--quiet", *given, str(context))

    def up(self) -> None:
        """Start it, and wait until every container says that it is healthy."""
        self._run(["deploy/docker/site", str(self.site)])
        self._compose("up", "--detach", "--no-build")
        deadline = time.monotonic() + PATIENCE
        while {name: state for name, state in self.health().items() if state != "healthy"}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.health()}\n{self.logs()[-6000:]}")
            time.sleep(0.5)

    def watch(self) -> str:
        """Start Prometheus as well, and give where it is."""
        self._compose("--profile", "watch", "up", "--detach", "--no-build", "prometheus")
        return f"http://127.0.0.1:{self._ports[4]}"

    def down(self) -> None:
        """End it, and remove whatever was made for it."""
        self._compose("--profile", "watch", "down", "--volumes", "--timeout", "5", check=False)
        images = self.docker("images", "--quiet", "--filter", f"reference={self._prefix}*").split()
        if images:
            self.docker("rmi", "--force", *set(images), check=False)

    def health(self) -> dict[str, str]:
        """Give what the health check of each container has found, where there is one."""
        known = {name: one["State"] for name, one in self.containers().items()}
        return {name: state["Health"]["Status"] for name, state in known.items() if "Health" in state}

    def containers(self) -> dict[str, Any]:
        """Give all that the engine knows of each container, by its service's name."""
        known = json.loads(self.docker("inspect", *self._compose("ps", "-q").split()))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in known}

    def nodes(self) -> list[str]:
        """Give the containers of the NATS nodes."""
        return [one["Id"] for name, one in self.containers().items() if name in NODES]

    def logs(self) -> str:
        """Give what all of them have said."""
        return self._compose("logs", "--no-color")

    def inside(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container that runs."""
        container = self.containers()[service]["Id"]
        return self._run(["docker", "exec", container, *words], check=False)

    def docker(self, *words: str, check: bool = True) -> str:
        """Ask the engine."""
        return self._run(["docker", *words], check=check).stdout

    def qme(self, *words: str, creds: str = "", node: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run qme on this machine as the operator or with another key, through one node or any that answers."""
        argv = [self._env["QME"], *words]
        return self._run(argv, env=self._of(creds, node), check=False, timeout=PATIENCE)

    def start(self, *words: str, creds: str) -> subprocess.Popen[bytes]:
        """Start a qme that stays, on this machine."""
        return subprocess.Popen(
            [self._env["QME"], *words],
            cwd=self.site,
            env={**self._env, **self._of(creds, None)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _of(self, creds: str, node: int | None) -> dict[str, str]:
        urls = [f"nats://127.0.0.1:{port}" for port in self._ports[: len(NODES)]]
        return {
            "QME_HOME": str(self._home),
            "QME_SITE_CONFIG": str(self._home / "none"),
            "QME_NATS_URL": ",".join(urls) if node is None else urls[node],
            "QME_NATS_CREDS": creds or str(self.site / "keys/operator.json"),
        }

    def ok(self, *words: str) -> str:
        """Run a command of the operator's that has to succeed."""
        done = self.qme(*words)
        assert done.returncode == 0, (
            f"qme {' '.join(words)}: {done.returncode} {done.stderr}\n{self.logs()[-4000:]}"
        )
        return done.stdout

    @property
    def dashboard(self) -> str:
        """Where the dashboard is."""
        return f"http://127.0.0.1:{self._ports[3]}"

    def _compose(self, *words: str, check: bool = True) -> str:
        return self._run([*(compose() or []), "--file", str(FILE), *words], check=check).stdout

    def _run(
        self,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        check: bool = True,
        timeout: float = BUILDING,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env={**self._env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
        return done
