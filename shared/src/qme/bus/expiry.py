"""When what proves us and the servers comes to its end: keys that say so, certificates. Renews nothing.

A NATS server knows no end of an nkey; `qme auth add --expires` notes one in the credentials file, and leaves the key
out of the server's configuration when it is over. A JWT and a certificate carry theirs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from qme.bus import tls
from qme.errors import SettingsError
from qme.observe.logging import get_logger
from qme.settings import Settings

log = get_logger(__name__)

#: seconds between two looks of a service
LOOK = 12 * 3600.0
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s*([\w.-]+)")
_DEFAULT_PORT = 4222
#: ASN.1
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17


@dataclass(frozen=True, slots=True)
class End:
    """Something that ends; `at` None: not by itself, or nobody can tell."""

    what: str
    at: datetime | None

    def within(self, seconds: float, now: datetime) -> bool:
        """Tell whether it ends within so many seconds, or has."""
        return self.at is not None and (self.at - now).total_seconds() <= seconds

    def sentence(self, now: datetime) -> str:
        """Say it."""
        if self.at is None:
            return f"{self.what}: no end"
        days = (self.at - now).total_seconds() / 86_400
        when = f"in {days:.0f} d" if days >= 2 else f"in {days * 24:.0f} h" if days >= 0 else "is over"
        return f"{self.what}: ends {self.at:%Y-%m-%d %H:%M} UTC, {when}"


async def watch(settings: Settings) -> None:
    """Log what ends within `ends_warning`, now and twice a day, for ever."""
    while True:
        for end in await ends(settings):
            if end.within(settings.ends_warning, datetime.now(UTC)):
                log.warning(
                    "credentials.end", what=end.what, at=str(end.at), says=end.sentence(datetime.now(UTC))
                )
        await asyncio.sleep(LOOK)


async def ends(settings: Settings) -> list[End]:
    """Give the ends of all that the settings name; what can't be read is left out, whoever uses it will say so."""
    return [*_files(settings), *[end async for end in _servers(settings)]]


def _files(settings: Settings) -> Iterator[End]:
    if (creds := settings.nats_creds) is not None and (text := _text(creds)):
        yield End(f"key in {creds}", credentials_end(text))
    if settings.nats_cert is not None and (found := certificates(_text(settings.nats_cert))):
        yield End(f"certificate in {settings.nats_cert}", found[0])
    if settings.nats_ca is not None and (found := certificates(_text(settings.nats_ca))):
        # While one of several authorities holds, whoever it vouches for is believed.
        yield End(f"authorities in {settings.nats_ca}", max(found))


async def _servers(settings: Settings) -> AsyncIterator[End]:
    for server in (settings.nats_url or "").split(",") if settings.nats_url else ():
        url = urlsplit(server.strip() if "://" in server else f"nats://{server.strip()}")
        if url.scheme not in ("nats", "tls") or url.hostname is None:
            continue
        with suppress(OSError, TimeoutError, ValueError, SettingsError):
            async with asyncio.timeout(settings.connect_timeout):
                at = await _server(url.hostname, url.port or _DEFAULT_PORT, settings)
            if at is not None:
                yield End(f"certificate of the server {url.hostname}", at)


async def _server(host: str, port: int, settings: Settings) -> datetime | None:
    """Ask a server for its certificate, as a client that goes away before it says who it is."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        greeting = (await reader.readline()).removeprefix(b"INFO ")
        if not json.loads(greeting).get("tls_required"):
            return None
        await writer.start_tls(tls.context(settings) or ssl.create_default_context(), server_hostname=host)
        peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return certificate_end(peer) if peer else None
    finally:
        writer.close()


def credentials_end(text: str) -> datetime | None:
    """Give the end that a credentials file tells: ours in JSON, or a JWT's."""
    with suppress(ValueError, TypeError, KeyError):
        if text.lstrip().startswith("{"):
            return datetime.fromisoformat(json.loads(text)["ends"]).astimezone(UTC)
        if found := _JWT.search(text):
            body = found[1].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            return datetime.fromtimestamp(claims["exp"], UTC)
    return None


def certificates(text: str) -> list[datetime]:
    """Give the ends of all certificates in a PEM file, in order."""
    found = []
    for pem in _PEM.findall(text):
        with suppress(ValueError):
            found.append(certificate_end(ssl.PEM_cert_to_DER_cert(pem)))
    return found


def certificate_end(der: bytes) -> datetime:
    """Read a certificate's end: the second time of its validity (RFC 5280). Raises ValueError for what is none.

    The standard library reads it from authorities only, or through private functions.
    """
    _, whole, _ = _element(der)
    _, body, _ = _element(whole)
    kind, _, rest = _element(body)
    if kind == _VERSION:  # absent in the first version
        _, _, rest = _element(rest)
    for _ in ("signature", "issuer"):
        _, _, rest = _element(rest)
    kind, validity, _ = _element(rest)
    if kind != _SEQUENCE:
        raise ValueError("not a certificate")
    _, _, rest = _element(validity)
    kind, value, _ = _element(rest)
    text = value.decode("ascii")
    if kind == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Split DER into its first element's kind and content, and the rest."""
    if len(data) < 2:
        raise ValueError("not a certificate")
    length, at = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if len(data) < at + length:
        raise ValueError("not a certificate")
    return data[0], data[at : at + length], data[at + length :]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
