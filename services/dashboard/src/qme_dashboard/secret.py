"""The secrets on disk: the token in QME_HOME, and the password file. Reads and writes them, judges nobody."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from qme.errors import SettingsError
from qme.settings import Settings

#: file in QME_HOME
TOKEN = "dashboard-token"  # noqa: S105 - its name, not a token


def token(settings: Settings) -> str:
    """Give the token of this QME_HOME; made when there is none. Raises SettingsError for one that others can read."""
    path = settings.home / TOKEN
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path, "token")
    with os.fdopen(descriptor, "w") as file:
        made = secrets.token_urlsafe(32)
        file.write(made + "\n")
    return made


def password(settings: Settings) -> str:
    """Give ``NAME:PASSWORD`` of the file that the setting dashboard_password names. Raises SettingsError."""
    path = settings.dashboard_password
    if path is None:
        raise SettingsError("dashboard_auth = basic needs dashboard_password, a file with NAME:PASSWORD")
    said = _read(path, "password")
    name, colon, secret = said.partition(":")
    if not (name and colon and len(secret) >= 8):
        raise SettingsError(f"{path} has to hold NAME:PASSWORD, the password of 8 characters or more")
    return said


def _read(path: Path, what: str) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"others may read the {what} in {path}; `chmod 600` it, and change it")
        said = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the {what} in {path}: {error}") from error
    if not said:
        raise SettingsError(f"{path} is empty; remove it and start again")
    return said
