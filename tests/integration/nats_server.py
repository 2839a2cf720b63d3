"""A NATS server of a test's own, without accounts, for what must be shown on the real bus."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

from qme.bus.jetstream import JetStreamBus


class NatsServer:
    """One nats-server on a free loopback port; it can be killed and started again on its store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> str | None:
        """Find nats-server: beside this Python, or on the PATH."""
        return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
            "nats-server"
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self._port}"

    def _spawn(self, argv: list[str]) -> None:
        self._process = subprocess.Popen(argv)

    async def start(self) -> None:
        """Start it; it listens when this returns."""
        program = self.program()
        assert program is not None
        argv = [program, "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder / "js")]
        ports = self._folder / "ports"
        ports.mkdir(parents=True, exist_ok=True)
        argv += ["--ports_file_dir", str(ports), "-l", str(self._folder / "nats.log")]
        self._spawn(argv)
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._listening(ports))
                    writer.close()
                    return
                except (OSError, ValueError):
                    await asyncio.sleep(0.02)

    def _listening(self, ports: Path) -> int:
        if self._port > 0:
            return self._port
        for path in ports.iterdir():
            (address,) = json.loads(path.read_text())["nats"]
            self._port = int(address.rpartition(":")[2])
        return self._port if self._port > 0 else 1

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def connect(self, user: str) -> JetStreamBus:
        """Connect as a user, whom this server believes."""
        return await JetStreamBus.open(
            [self.url], {}, user=user, name="test", connect_timeout=5.0, publish_retry=10.0
        )
