"""The processes of a chaos run: NATS nodes, submitters, workers. Starts them, hurts them, ends them; judges nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.cluster.nodes import Cluster, free_ports

from qme.executor.commands import Keeper
from qme.executor.spool import Spool
from qme.settings import Settings
from qme.testing.nats import NatsServer

ROOT = Path(__file__).parents[2]
QME = str(Path(sys.executable).with_name("qme"))
#: seconds that a service is given to end
PATIENCE = 20.0
#: what makes a short run see what takes minutes otherwise
QUICK = {
    "QME_HEARTBEAT": "2s",
    "QME_LEASE": "10s",
    "QME_JANITOR_INTERVAL": "2s",
    "QME_JANITOR_GRACE": "2s",
    "QME_TERM_GRACE": "1s",
    "QME_SHELL_SLOTS": "8",
    "QME_LOG_FORMAT": "json",
    "QME_LOG_LEVEL": "info",
}


class Victim(Protocol):
    """A process that can be hurt."""

    def start(self) -> None:
        """Start it, also after it was killed."""

    def kill(self) -> None:
        """End it with kill -9."""

    def stop(self) -> None:
        """Ask it to end, and wait for that. Raises subprocess.TimeoutExpired."""

    def pause(self) -> None:
        """Stop it where it stands."""

    def resume(self) -> None:
        """Let it go on."""


class Service:
    """A submitter or a worker."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], log: Path) -> None:
        self._argv, self._env, self._log = list(argv), env, log
        self._process: subprocess.Popen[bytes] | None = None
        self._fell = False
        self._said = 0  #: bytes of its log when it was started

    def start(self) -> None:
        """Start it, also after it was killed."""
        with self._log.open("ab") as log:
            self._said = log.tell()
            self._process = subprocess.Popen(
                self._argv, cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End it with kill -9."""
        self._signal(signal.SIGKILL)
        self.wait()

    def pause(self) -> None:
        """Stop it where it stands."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self.resume()
        self._signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait for its end."""
        if self._process is not None:
            self._process.wait(PATIENCE)

    def ready(self) -> bool:
        """Tell whether it has said, since its last start, that it works."""
        with self._log.open("rb") as log:
            log.seek(self._said)
            return b".ready" in log.read()

    def fell(self) -> bool:
        """Tell whether it ever ended by itself, as no service should."""
        self._fell = self._fell or (self._process is not None and self._process.poll() is not None)
        return self._fell

    def _signal(self, number: signal.Signals) -> None:
        if not self.fell() and self._process is not None:
            self._process.send_signal(number)


class Site:
    """Everything that a run starts, below one folder."""

    def __init__(self, folder: Path, *, nodes: int, submitters: int, workers: int) -> None:
        self.folder = folder
        for name in ("notes", "lists", "log", "home"):
            (folder / name).mkdir(parents=True)
        self.notes = folder / "notes"
        self._cluster = Cluster(folder / "nats") if nodes > 1 else None
        self._nodes: Sequence[NatsServer] = self._cluster.nodes if self._cluster else [_node(folder / "nats")]
        self._submitters, self._workers = submitters, workers
        self.services: dict[str, Service] = {}
        self.env: dict[str, str] = {}

    def start(self) -> None:
        """Start everything; the services come to work in their own time. Blocks."""
        for node in self._nodes:
            node.start()
        if self._cluster:
            self._cluster.wait()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}
        self.env = {
            **kept,
            **QUICK,
            "QME_HOME": str(self.folder / "home"),
            "QME_SITE_CONFIG": str(self.folder / "no-site-config"),
            "QME_EMBEDDED": "false",
            "QME_NATS_URL": ",".join(node.url for node in self._nodes),
            "QME_NATS_CREDS": str(self._creds),
            "QME_REPLICAS": str(len(self._nodes)),
        }
        for number in range(self._submitters):
            self._add(f"submitter-{number}", (sys.executable, "-P", "-m", "qme_submitter"))
        for number in range(self._workers):
            self._add(f"worker-{number}", (QME, "worker", "shell"))
        for service in self.services.values():
            service.start()

    def _add(self, name: str, argv: Sequence[str]) -> None:
        own = {"QME_HOST": name, "QME_LOCAL_DIR": str(self.folder / name)}
        self.services[name] = Service(argv, {**self.env, **own}, self.folder / "log" / f"{name}.log")

    @property
    def victims(self) -> dict[str, Victim]:
        """Whatever may be hurt, by name."""
        nodes = {f"nats-{number}": node for number, node in enumerate(self._nodes)}
        return {**self.services, **nodes}

    async def until_ready(self, name: str, seconds: float) -> None:
        """Wait until a service works that was started, but not for longer than that. A NATS node does once it runs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while name in self.services and not self.services[name].ready():  # noqa: ASYNC110 -- a process
                    await asyncio.sleep(0.1)

    @property
    def settings(self) -> Settings:
        """The settings of who looks from outside."""
        return Settings(
            home=self.folder / "home",
            nats_url=self.env["QME_NATS_URL"],
            nats_creds=self._creds,
            embedded=False,
            request_timeout=60.0,
        )

    @property
    def _creds(self) -> Path:
        return self._cluster.creds() if self._cluster else self._nodes[0].creds

    def fallen(self) -> list[str]:
        """Name the services that ended by themselves, as none should."""
        return [name for name, service in self.services.items() if service.fell()]

    async def end(self) -> None:
        """End everything that this started, and what that started."""
        for service in self.services.values():
            await surely_stopped(service)
        for path in self.folder.glob("worker-*/spool/*"):
            await _empty(Keeper(Spool(path)))
        for node in self._nodes:
            node.resume()
            with suppress(subprocess.TimeoutExpired):
                node.kill()


def _node(folder: Path) -> NatsServer:
    """Make a server on a port that stays free for it while it is dead: no client is given it for its own end."""
    node = NatsServer(folder)
    (node.port,) = free_ports(1)
    return node


async def _empty(keeper: Keeper) -> None:
    """End the commands of a spool and their keeper."""
    await keeper.connect()
    for uuid, attempt in keeper.running():
        await keeper.end(uuid, attempt, 0.0)
    await keeper.quit()
    await keeper.close()


async def surely_stopped(victim: Victim) -> None:
    """End what was asked to end, however busy the machine is."""
    try:
        await asyncio.to_thread(victim.stop)
    except subprocess.TimeoutExpired:
        await asyncio.to_thread(victim.kill)


async def surely_started(victim: Victim, seconds: float = 60.0) -> None:
    """Start what was killed, however busy the machine is."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await asyncio.to_thread(victim.start)
        except RuntimeError:  # a server that did not listen in time
            victim.kill()
            if time.monotonic() > deadline:
                raise
