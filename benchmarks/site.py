"""A site that exists for one measurement: NATS, submitters, workers, all on this machine. Measures nothing itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests.cluster.nodes import Cluster

from qme.settings import Settings
from qme.testing.nats import NatsServer

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
QME = str(Path(sys.executable).with_name("qme"))
#: what the embedded stack gives its server, so that the figures are those of what is shipped
STORE = 'sync_interval: "1s"'
#: of our environment; Python shall keep what it compiles, as where qme is installed
_LEFT_OUT = ("QME_", "NATS_", "PYTHONDONTWRITEBYTECODE")
#: seconds that a service may take to come up, or to end
PATIENCE = 60.0


class Service:
    """A process of the site."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, env=env, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def wait_until_ready(self) -> None:
        """Wait for the line in its log that says so."""
        wait_for(lambda: b".ready" in self.log.read_bytes() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise SystemExit(f"{self.log.name} ended: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Site:
    """What runs, and how a client gets at it."""

    def __init__(self, folder: Path, servers: Sequence[NatsServer], creds: Path) -> None:
        self.folder = folder
        self.servers = servers
        self.creds = creds
        self.submitters: list[Service] = []
        self.workers: list[Service] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
        self.env = {
            **clean,
            "PYTHONPYCACHEPREFIX": str(Path.home() / ".cache/qme-bench/compiled"),
            "HOME": str(folder),
            "QME_HOME": str(folder / "home"),
            "QME_SITE_CONFIG": str(folder / "no-site-config"),
            "QME_EMBEDDED": "false",
            "QME_NATS_URL": ",".join(server.url for server in servers),
            "QME_NATS_CREDS": str(creds),
            "QME_REPLICAS": str(len(servers)),
            "QME_LOG_FORMAT": "json",
        }

    @property
    def settings(self) -> Settings:
        """The settings of a client in this process."""
        return Settings(
            home=self.folder / "home",
            nats_url=self.env["QME_NATS_URL"],
            nats_creds=self.creds,
            embedded=False,
        )

    def submitter(self) -> Service:
        """Start a submitter."""
        self.submitters.append(
            self.start(f"submitter-{len(self.submitters)}", (sys.executable, "-P", "-m", "qme_submitter"), {})
        )
        return self.submitters[-1]

    def worker(self, executor: str = "shell", **settings: object) -> Service:
        """Start a worker; `settings` such as ``slots=4`` are its executor's."""
        own = {f"QME_{executor.upper()}_{key.upper()}": str(value) for key, value in settings.items()}
        service = self.start(f"worker-{executor}-{len(self.workers)}", (QME, "worker", executor), own)
        if not self.workers:  # the first one brings the definition, without which nothing can be submitted
            wait_for(lambda: b"presence.advertised" in service.log.read_bytes())
        self.workers.append(service)
        return service

    def start(self, name: str, argv: Sequence[str], env: dict[str, str]) -> Service:
        """Start a service of this site and wait until it is ready."""
        own = {"QME_HOST": name, "QME_LOCAL_DIR": str(self.folder / name)}
        service = Service(argv, {**self.env, **own, **env}, self.folder / f"{name}.log")
        service.wait_until_ready()
        return service

    def qme(self, *words: str, stdin: str | None = None) -> str:
        """Run a verb that must succeed; what it prints."""
        done = subprocess.run(
            (QME, *words),
            env=self.env,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"qme {' '.join(words)[:80]}: {done.stderr[-2000:]}")
        return done.stdout

    def seconds(self, pid: int) -> float:
        """CPU seconds that a process has used."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def keepers(self) -> list[int]:
        """The pids of the workers' keepers."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if any(word.endswith(b"executor/keeper") for word in words) and any(
                    word.startswith(str(self.folder).encode()) for word in words
                ):
                    found.append(int(entry.parent.name))
        return found


@contextmanager
def site(*, nodes: int = 1, submitters: int = 1, base: Path | None = None) -> Iterator[Site]:
    """Start NATS and submitters in a folder of their own; end them, and what was started since, with the context."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qme-bench-", dir=base)))
        if nodes == 1:
            server = stack.enter_context(NatsServer(folder / "nats", store=STORE))
            place = Site(folder, [server], server.creds)
        else:
            cluster = Cluster(folder / "nats")
            stack.callback(lambda: [node.kill() for node in cluster.nodes])
            for node in cluster.nodes:
                node.start()
            cluster.wait()
            place = Site(folder, cluster.nodes, cluster.creds())
        try:
            for _ in range(submitters):
                place.submitter()
            yield place
        finally:
            for service in (*place.workers, *place.submitters):
                service.stop()
            wait_for(lambda: not place.keepers)


def wait_for(true: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Wait until something holds, and give it."""
    until = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > until:
            raise SystemExit("the benchmark waited in vain; what it started may not have come up")
        time.sleep(0.02)
    return found
