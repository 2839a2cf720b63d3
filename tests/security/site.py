"""A site: a real NATS server that knows `qme auth`'s identities, and the programs of qme as their owners."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from qme.auth.book import Book
from qme.contracts import subjects
from qme.contracts.rights import Place, Role
from qme.testing.nats import NatsServer

#: seconds that anything may take on a busy machine
PATIENCE = 90
_RELOADED = "Reloaded server configuration"
#: and an answer of the bus
ANSWER = 20
LAB, HPC = Place("shell", "lab"), Place("slurm", "hpc")


class Site:
    """One folder with the server, the book of identities, and a home for each program's owner."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.folder = folder
        self.book = Book(folder / "auth")
        self.book.start()
        self.server = NatsServer(folder / "nats", include="../auth/qme-auth.conf", extra=extra)
        self.creds: dict[str, Path] = {}
        self._programs: list[subprocess.Popen[bytes]] = []

    def add(self, role: Role, name: str, place: Place | None = None, *, team: str = "qme") -> Path:
        """Give an identity a key, and remember it under its role and name."""
        path = self.book.add(team, role, name, (place.executor, place.pool) if place else None)
        self.creds[f"{role}:{name}"] = path
        return path

    async def reload(self) -> None:
        """Let the server read the identities again, and wait until it says that it has."""
        log = self.folder / "nats/log"
        before = log.read_text().count(_RELOADED)
        self.server.send(signal.SIGHUP)
        await until(lambda: log.read_text().count(_RELOADED) > before, "the server has reloaded")

    def env(self, who: str, home: str) -> dict[str, str]:
        """The environment of somebody's programs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}
        return {
            **kept,
            "QME_HOME": str(self.folder / home),
            "QME_SITE_CONFIG": str(self.folder / "none"),
            "QME_NATS_URL": self.server.url,
            "QME_NATS_CREDS": str(self.creds[who]),
            "QME_LOG_LEVEL": "debug",
            "QME_HEARTBEAT": "1",
            "QME_JANITOR_INTERVAL": "1",
        }

    def start(self, who: str, *argv: str, home: str | None = None, **more: str) -> subprocess.Popen[bytes]:
        """Start a program of somebody's; what it says goes to a log named after its home."""
        home = home or who.replace(":", "-")
        (self.folder / home).mkdir(exist_ok=True)
        with (self.folder / f"{home}.log").open("ab") as log:
            program = subprocess.Popen(
                [str(Path(sys.executable).with_name(argv[0])), *argv[1:]],
                env={**self.env(who, home), **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._programs.append(program)
        return program

    def qme(self, who: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of somebody's to its end."""
        home = who.replace(":", "-")
        (self.folder / home).mkdir(exist_ok=True)
        return subprocess.run(
            [str(Path(sys.executable).with_name("qme")), *words],
            env={**self.env(who, home), "QME_LOG_LEVEL": "info", **more},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )

    def ok(self, who: str, *words: str) -> str:
        """Run a command that must succeed, and give what it printed."""
        done = self.qme(who, *words)
        assert done.returncode == 0, (words, done.returncode, done.stderr)
        return done.stdout.strip()

    def stop(self) -> None:
        """End all programs, first those that were started last."""
        for program in reversed(self._programs):
            program.terminate()
        for program in self._programs:
            try:
                program.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                program.kill()
        self._programs.clear()


class Probe:
    """A bare connection of an identity, that does what no program of qme's would."""

    def __init__(self, client: Client, violations: list[str]) -> None:
        self.client = client
        self._violations = violations

    @classmethod
    async def open(cls, site: Site, who: str) -> Probe:
        """Connect as somebody."""
        violations: list[str] = []

        async def note(error: Exception) -> None:
            violations.append(str(error))

        found = json.loads(site.creds[who].read_text())
        client = Client()
        try:
            await client.connect(
                site.server.url,
                nkeys_seed_str=found["seed"],
                inbox_prefix=subjects.inbox(subjects.token(found["user"])).encode(),
                error_cb=note,
                allow_reconnect=False,
            )
        except BaseException:
            await client.close()
            raise
        return cls(client, violations)

    async def refused(self) -> bool:
        """Tell whether the server refused anything since this was asked last."""
        for _ in range(2):  # the first ping may overtake what waits to be sent
            await self.client.flush(timeout=PATIENCE)
        said, self._violations[:] = list(self._violations), []
        return any("permissions violation" in words for words in said)

    async def may_publish(self, subject: str, data: bytes, *, answered: bool = True) -> bool | None:
        """Publish with a reply subject of our own; None: not refused, but the answer that is due does not come."""
        inbox = self.client.new_inbox()
        answer = asyncio.get_running_loop().create_future()

        async def take(message: Any) -> None:
            if not answer.done():
                answer.set_result(message)

        subscription = await self.client.subscribe(inbox, cb=take)
        await self.client.publish(subject, data, reply=inbox)
        try:
            if await self.refused():
                return False
            if answered:
                async with asyncio.timeout(ANSWER):
                    message = await answer
                return (message.headers or {}).get("Status") != "503" or None
            return True
        except TimeoutError:
            return None
        finally:
            await subscription.unsubscribe()

    async def may_subscribe(self, subject: str) -> bool:
        """Subscribe."""

        async def take(_: Any) -> None:
            return

        subscription = await self.client.subscribe(subject, cb=take)
        refused = await self.refused()
        with suppress(Exception):  # a refused one is gone already
            await subscription.unsubscribe()
        return not refused

    async def serve(self, subject: str) -> None:
        """Answer whatever comes."""

        async def answer(message: Any) -> None:
            if message.reply:
                await message.respond(b"here")

        await self.client.subscribe(subject, cb=answer)
        await self.refused()


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until a look at things says yes, and give what it saw."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if seen := condition():
                    return seen
            except (OSError, ValueError):
                seen = None
            await asyncio.sleep(0.1)
    raise AssertionError(what)
