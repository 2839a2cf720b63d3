"""Makes key pairs, and the credentials files that hold their secret half. Knows no identities and no rights."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import nkeys

from qme.errors import InvalidRequest


class Pair(NamedTuple):
    """An ed25519 key pair in NATS's spelling. No repr of the secret half."""

    public: str
    seed: str

    def __repr__(self) -> str:
        return f"Pair({self.public})"


def make() -> Pair:
    """Make a new pair."""
    seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))
    return Pair(bytes(nkeys.from_seed(bytearray(seed)).public_key).decode(), seed.decode())


def write(path: Path, user: str, pair: Pair, ends: str | None = None) -> None:
    """Write a credentials file, for its owner's eyes only; `ends` tells when the key is taken away.

    Raises InvalidRequest where there is a file already.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise InvalidRequest(f"{path} exists; a key is never written over another one") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask says
            said = {"user": user, "seed": pair.seed}
            json.dump(said if ends is None else {**said, "ends": ends}, file)
            file.write("\n")
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
