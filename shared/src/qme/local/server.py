"""The embedded nats-server: its version, configuration, credentials, port, and the lock on its store.

The server itself holds the lock, through a descriptor that it inherits and knows nothing of: two servers on one store
both start and silently diverge, and a lock of the supervisor's would be gone with the supervisor while its server
lives on.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress

from qme.errors import LocalStackError
from qme.executor.processes import capture
from qme.local import ports
from qme.local.layout import Layout, explained, has_room, replace, try_lock
from qme.local.plan import Plan
from qme.local.services import Service

#: older servers ignore per-message time to live without a word
_OLDEST = (2, 11)
_MAX_PAYLOAD = 1 << 20
#: the streams have limits of their own; what the server would take as a limit (3/4 of the free disk) refuses them
_MAX_STORE = 1 << 50
_MAX_MEMORY = 64 << 20
_FULL = re.compile(rb"no space left on device|disk quota exceeded")
_LOG_TAIL = 4096
#: seconds for a server that is ending to let go of its store
_LETTING_GO = 5.0
_LETTING_GO_OF_PORT = 0.5


class Server(Service):
    """The nats-server of one stack."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        super().__init__("nats-server", (plan.server, "-c", str(layout.server_config)), layout)
        self.port = _configured_port(layout)
        self._plan = plan
        self._serves = False
        self._log_read = self._log_size()
        self._is_full = False

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"nats://{ports.HOST}:{self.port}" if self.port else ""

    async def check(self) -> None:
        """Look that the program is a nats-server and new enough. Raises LocalStackError."""
        said = ""
        with suppress(OSError):
            said = (await capture([self._plan.server, "--version"], timeout=10.0)).stdout.decode(
                errors="replace"
            )
        found = re.search(r"nats-server: v(\d+)\.(\d+)\S*", said)
        if not found:
            raise LocalStackError(
                f"{self._plan.server} is no nats-server that runs here; set QME_NATS_SERVER to one, "
                "or QME_NATS_URL to a bus that runs elsewhere"
            )
        if (int(found[1]), int(found[2])) < _OLDEST:
            raise LocalStackError(
                f"{self._plan.server} is too old ({found[0]}): at least v{_OLDEST[0]}.{_OLDEST[1]} is needed; "
                "set QME_NATS_SERVER"
            )

    async def launch(self, env: Mapping[str, str]) -> None:
        """Start it on its store, on its old port where that is free. Raises LocalStackError, OSError."""
        lock = await self.free_store()
        try:
            self._configure(keep=await self._can_keep_port())
            self._log_read, self._is_full = self._log_size(), False
            self.start(env, (lock,))
        finally:
            os.close(lock)  # the server's copy keeps it held

    def serves(self) -> bool:
        """Tell whether it runs and has been seen to listen."""
        if not self.look():
            self._serves = False
        elif not self._serves:
            self._serves = ports.is_ours(self.port)
        return self._serves

    def is_stuck(self) -> bool:
        """Tell whether its disk was full and has room again: it refuses all writes until it is started anew."""
        size = self._log_size()
        if size > self._log_read:
            with suppress(OSError), self.log.open("rb") as log:
                log.seek(max(self._log_read, size - _LOG_TAIL))
                if _FULL.search(log.read()):
                    self._is_full = True
                    self.error = f"the disk under {self._layout.store} was full"
        self._log_read = size
        return self._is_full and has_room(self._layout)

    def _log_size(self) -> int:
        try:
            return self.log.stat().st_size
        except OSError:
            return 0

    async def free_store(self) -> int:
        """Wait until no server has the store, and give the lock on it. Raises LocalStackError after five seconds."""
        deadline = asyncio.get_running_loop().time() + _LETTING_GO
        with explained(self._layout.store_lock):
            while (lock := try_lock(self._layout.store_lock)) is None:
                if asyncio.get_running_loop().time() > deadline:
                    raise LocalStackError(
                        f"{self._layout.store} is in use by a nats-server that this stack did not start; end that one"
                    )
                await asyncio.sleep(0.05)
        return lock

    async def _can_keep_port(self) -> bool:
        """Tell whether the port is free; a server that was killed lets go of it a moment after its store."""
        deadline = asyncio.get_running_loop().time() + _LETTING_GO_OF_PORT
        while self.port and asyncio.get_running_loop().time() < deadline:
            if ports.is_free(self.port):
                return True
            await asyncio.sleep(0.02)
        return False

    def _configure(self, *, keep: bool) -> None:
        """Write the configuration. Another port and other credentials always come together.

        Whoever took the port may have been sent the credentials, by clients that did not know yet that it was lost. And
        so the address alone tells a service whether what it was told still holds.
        """
        credentials = _credentials(self._layout) if keep else None
        if credentials is None or credentials["user"] != self._plan.user:
            self.port = ports.choose()
            credentials = {"user": self._plan.user, "password": secrets.token_urlsafe(32)}
            # The mark keeps whoever holds them from sending them to another account's server on the port.
            replace(self._layout.creds, json.dumps({**credentials, "owner": "self"}))
        replace(self._layout.server_config, _configuration(self._plan, self._layout, self.port, credentials))


def _configuration(plan: Plan, layout: Layout, port: int, credentials: Mapping[str, str]) -> str:
    # No monitoring port: whoever can connect to it, every user of this machine, could read what runs.
    sync = f'"{max(1, round(plan.sync_interval * 1000))}ms"' if plan.sync_interval else "always"
    return (
        f"server_name: {_quoted(f'qme-{layout.root.name}')}\n"
        f'host: "{ports.HOST}"\n'
        f"port: {port}\n"
        f"max_payload: {_MAX_PAYLOAD}\n"
        "jetstream {\n"
        f"  store_dir: {_quoted(str(layout.store))}\n"
        f"  sync_interval: {sync}\n"
        f"  max_file_store: {_MAX_STORE}\n"
        f"  max_memory_store: {_MAX_MEMORY}\n"
        "}\n"
        "authorization {\n"
        f"  user: {_quoted(credentials['user'])}\n"
        f"  password: {_quoted(credentials['password'])}\n"
        "}\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _configured_port(layout: Layout) -> int:
    with suppress(OSError):
        if found := re.search(
            r"^port: (\d+)$", layout.server_config.read_text(encoding="utf-8"), re.MULTILINE
        ):
            return int(found[1])
    return 0


def _credentials(layout: Layout) -> dict[str, str] | None:
    """Give the stored credentials; None when there are none that have the mark, or when others could use them."""
    try:
        with layout.creds.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            content = json.load(file)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077 or content["owner"] != "self":
            return None
        return {"user": str(content["user"]), "password": str(content["password"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
