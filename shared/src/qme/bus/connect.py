"""Opens the bus that the settings name: credentials from their file, and the adapter that fits. No calls are made here.

The adapter is imported when it is needed: it brings NATS along, which costs a tenth of a second.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qme.bus.port import Bus
from qme.errors import BusUnavailable, SettingsError
from qme.settings import Settings

_SEED = re.compile(r"SU[A-Z2-7]{56}\Z")
_JWT = "-----BEGIN NATS USER JWT-----"


@dataclass(frozen=True, repr=False)
class Credentials:
    """What proves who we are: options of the adapter, and the user's name where the file says it."""

    login: dict[str, Any]
    user: str | None = None
    #: they open the embedded stack, so only a server of our own account may see them
    own: bool = False


async def connect(
    settings: Settings,
    *,
    url: str | None = None,
    creds: Path | None = None,
    name: str,
    tell: Callable[[str], None] | None = None,
) -> Bus:
    """Connect to `url` (else the settings' one) with the credentials file `creds` (else the settings' one).

    `name` is what operators see in the list of connections. The user is the one that the credentials name, else the
    setting. `tell` is handed a sentence whenever the bus is away or back; without it they are logged.

    Raises SettingsError for an unusable file, NotPermitted for refused credentials, BusUnavailable.
    """
    url = url or settings.nats_url
    if url is None:
        raise BusUnavailable("no message bus is named; set QME_NATS_URL, or let qme start a local one")
    path = creds or settings.nats_creds
    credentials = read_credentials(path) if path else Credentials({})
    from qme.bus import tls
    from qme.bus.jetstream import JetStreamBus

    secured = None if credentials.own else tls.context(settings)
    return await JetStreamBus.open(
        [server.strip() for server in url.split(",")],
        {**credentials.login, **({"tls": secured} if secured else {})},
        user=credentials.user or settings.user,
        name=name,
        connect_timeout=settings.connect_timeout,
        publish_retry=settings.publish_retry,
        own=credentials.own,
        tell=tell,
    )


def read_credentials(path: Path) -> Credentials:
    """Read a credentials file: JSON with user and seed or password, a user's nkey seed, or a NATS .creds file.

    ``"owner": "self"`` in the JSON marks the embedded stack's: they go to a server of our own account only.
    Raises SettingsError for one that others may read, or that is none of the three.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise SettingsError(
                    f"others may read the credentials in {path} (mode {mode:04o}); run: chmod 600 {path}"
                )
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the credentials in {path} can't be read: {error}") from error
    if text.startswith("{"):
        return _named(path, text)
    if _SEED.match(text):
        return Credentials({"nkeys_seed_str": text})
    if _JWT in text:
        return Credentials(
            {"user_credentials": str(path)}
        )  # read again at every connection: it may be renewed
    raise SettingsError(
        f"the credentials in {path} are neither JSON with user and seed or password, nor a seed, nor a .creds file"
    )


def _named(path: Path, text: str) -> Credentials:
    try:
        found = json.loads(text)
        user, secret = found["user"], found["seed"] if "seed" in found else found["password"]
    except (ValueError, KeyError) as error:
        raise SettingsError(
            f'the credentials in {path} must be {{"user": …, "seed": …}} or {{"user": …, "password": …}}'
        ) from error
    if not (isinstance(user, str) and isinstance(secret, str) and user):
        raise SettingsError(f"user and seed or password in {path} must be text")
    if "seed" in found:
        if not _SEED.match(secret):
            raise SettingsError(f"the seed in {path} is none of a user's")
        return Credentials({"nkeys_seed_str": secret}, user)
    return Credentials({"user": user, "password": secret}, user, own=found.get("owner") == "self")
