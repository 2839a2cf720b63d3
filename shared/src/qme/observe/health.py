"""A service's own small HTTP page: /healthz, /readyz and /metrics. Serves numbers, never tasks; no framework.

/healthz and /readyz say ok or not ok and nothing else, to anybody. /metrics is answered to whom the service
belongs: on a shared login node loopback is open to every local user, so it asks for the same account or for
the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from importlib.metadata import version
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Info, generate_latest

from qme.errors import SettingsError
from qme.observe.peer import peer_uid

Check = Callable[[], bool]
#: seconds without a turn of the event loop after which a service is not healthy
STILL = 60.0
#: connections that are answered at a time. One more ends the oldest: any account of the machine may open as many as it
#: likes and say nothing, and each would hold a thread and a descriptor that the service's own work needs
AT_ONCE = 64
_TEXT = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """What the page answers from.

    ``healthy`` (restart me when not) and ``ready`` (send me work) are called in threads of the server: they
    must be quick and safe there, and an exception counts as not ok. Without a ``token`` only our own account
    sees /metrics.
    """

    registry: CollectorRegistry
    healthy: Check
    ready: Check
    token: str | None = field(default=None, repr=False)


class Pulse:
    """Whether the event loop still turns: a process whose loop stands still helps nobody, and is to be restarted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beats(self) -> bool:
        """Tell whether the loop turned within the last minute; to be asked from another thread."""
        return self._clock() - self._last < STILL

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def shown(
    service: str,
    registry: CollectorRegistry,
    ready: Check,
    *,
    port: int,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
) -> AsyncIterator[int | None]:
    """Serve the page of a service with an event loop, and give its port; nothing where `port` is 0.

    `ready` says whether it does its work now. Raises SettingsError.
    """
    if not port:
        yield None
        return
    Info("qme_build", "Version of a service", registry=registry).info(
        {"version": version("qme-core"), "service": service}
    )
    pulse = Pulse()
    beating = asyncio.create_task(pulse.beat())
    try:
        page = Page(registry, pulse.beats, ready, read_token(token_file) if token_file else None)
        with serve(page, port, host) as port:
            yield port
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


def read_token(path: Path) -> str:
    """Read the token that lets others see /metrics. Raises SettingsError for one that anybody may read."""
    try:
        # A group may: Prometheus, which sends it, runs as another account.
        if path.stat().st_mode & 0o007:
            raise SettingsError(f"metrics_token: anybody may read {path}; run: chmod o= {path}")
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"metrics_token: {path} can't be read: {error}") from error
    if len(token) < 16:
        raise SettingsError(f"metrics_token: {path} has to hold 16 characters or more")
    return token


@contextlib.contextmanager
def serve(page: Page, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve the page, in threads, inside the ``with``, and give its port: a free one where 0 is asked for.

    Raises SettingsError when the port can't be had.
    """
    try:
        server = _Server((host, port), page)
    except OSError as error:
        raise SettingsError(f"metrics_port: cannot listen on {host}:{port}: {error.strerror}") from error
    port = server.server_address[1]
    stopping = threading.Event()

    def answer() -> None:
        # Not serve_forever: that one wakes twice a second to see whether it shall stop, and is as slow to do so.
        while not stopping.is_set():
            server.handle_request()

    thread = threading.Thread(target=answer, name="health", daemon=True)
    thread.start()
    try:
        yield port
    finally:
        stopping.set()
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=1).close()  # wakes it
        thread.join(timeout=1)
        server.server_close()


# Not http.server's own class: that one looks its own name up in the DNS before it serves.
class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = AT_ONCE

    def __init__(self, address: tuple[str, int], page: Page) -> None:
        self.page = page
        self._open: dict[socket.socket, None] = {}
        self._guard = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open[request] = None
            if len(self._open) > AT_ONCE:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread closes it
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # socketserver calls this from its handler; a peer that hung up is nobody's error.
        log.debug("health.request_failed", exc_info=True)  # noqa: LOG014


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5.0  # seconds; a peer that sends nothing does not keep its thread

    def do_GET(self) -> None:
        page = self.server.page
        match self.path.partition("?")[0]:
            case "/healthz":
                self._check(page.healthy)
            case "/readyz":
                self._check(page.ready)
            case "/metrics" if self._is_ours():
                self._answer(200, generate_latest(page.registry), CONTENT_TYPE_LATEST)
            case "/metrics":
                self._answer(403, b"ask as the service's own account, or with its token\n")
            case _:
                self._answer(404, b"/healthz /readyz /metrics\n")

    def version_string(self) -> str:
        return "qme"

    def log_message(self, *_: Any) -> None:
        """Say nothing: a line per probe would bury the log."""

    def _check(self, check: Check) -> None:
        try:
            ok = check()
        except Exception:
            log.exception("health.check_failed")
            ok = False
        self._answer(200 if ok else 503, b"ok\n" if ok else b"not ok\n")

    def _is_ours(self) -> bool:
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        if self.server.page.token and scheme.lower() == "bearer":
            return hmac.compare_digest(credentials.strip().encode(), self.server.page.token.encode())
        return peer_uid(self.connection) == os.getuid()

    def _answer(self, status: int, body: bytes, content_type: str = _TEXT) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
