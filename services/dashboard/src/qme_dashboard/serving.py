"""Puts hub, guard, interface and pages together and serves them on one port, until told to stop."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from qme.errors import SettingsError
from qme.observe.health import read_token
from qme.observe.logging import configure, get_logger
from qme.settings import Settings
from qme_dashboard import process, secret
from qme_dashboard.access import Rules
from qme_dashboard.api import Api
from qme_dashboard.guard import Guard
from qme_dashboard.hub import Hub

log = get_logger(__name__)

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; prints the address to stderr. Raises SettingsError."""
    configure(settings.log_level, settings.log_format)
    with listening(settings) as listener:
        port = listener.getsockname()[1]
        rules = rules_of(settings, port)
        _say(settings, port, rules)

        # A second of libraries: what can't be served is said before.
        import uvicorn

        from qme_dashboard.ui import pages

        may_act, named = settings.dashboard_actions, rules.auth == "proxy"
        hub = process.begin(Hub(settings), may_act=may_act, named=named).hub

        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[None]:
            hub.start()
            yield
            hub.close()

        api = Api(hub, may_act=may_act, named=named, auth=rules.auth)
        shown = settings.metrics_token
        app = Guard(pages.app(api.routes(), lifespan), rules, read_token(shown) if shown else None)
        config = uvicorn.Config(
            app,
            # Who is at the other end decides: nobody may say so in a header (X-Forwarded-For).
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=16 << 20,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def rules_of(settings: Settings, port: int) -> Rules:
    """Make the rules that the settings ask for. Raises SettingsError."""
    further = (settings.dashboard_names or "").lower().split(",")
    names = _LOOPBACK | {name.strip() for name in further if name.strip()}
    if not is_loopback(settings.dashboard_host):
        names |= {settings.host, settings.dashboard_host.lower()}
    return Rules(
        auth=settings.dashboard_auth,
        token=secret.token(settings),
        session=secrets.token_urlsafe(32),
        cookie=f"qme_{port}",
        user=settings.user,
        names=frozenset(names),
        password=secret.password(settings) if settings.dashboard_auth == "basic" else "",
        user_header=settings.dashboard_user_header.lower(),
    )


def listening(settings: Settings) -> socket.socket:
    """Take the port. Raises SettingsError."""
    host, port = settings.dashboard_host, settings.dashboard_port
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # At once, before the address with the token is told: until then another account could bind it too, and listen.
        listener.listen(128)
    except OSError as error:
        listener.close()
        free = "; `qme start --port 0` takes a free one" if error.errno == errno.EADDRINUSE else ""
        raise SettingsError(
            f"dashboard_port: cannot listen on {host}:{port}: {error.strerror}{free}"
        ) from error
    return listener


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _say(settings: Settings, port: int, rules: Rules) -> None:
    host = settings.dashboard_host if is_loopback(settings.dashboard_host) else settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    entry = f"{address}?token={rules.token}" if rules.auth == "token" else address
    lines = [f"the dashboard is at {entry}"]
    if not is_loopback(settings.dashboard_host):
        lines.append("it is reachable from other machines, unencrypted: put a TLS proxy before it")
    if not settings.dashboard_actions:
        lines.append("it only shows; `qme start --allow-actions` lets it change tasks")
    for line in lines:
        sys.stderr.write(f"qme: {line}\n")
    sys.stderr.flush()
