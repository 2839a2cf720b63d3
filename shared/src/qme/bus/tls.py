"""What TLS takes: whom we trust, what proves us, what the failure of a handshake means in words. Connects nothing."""

from __future__ import annotations

import logging
import ssl

from qme.errors import SettingsError
from qme.settings import Settings


def context(settings: Settings) -> ssl.SSLContext | None:
    """Give the context that the settings describe; None where they say nothing, and the system's authorities count.

    Raises SettingsError for files that can't be used.
    """
    logging.getLogger("asyncio").addFilter(_worth_saying)
    if settings.nats_ca is None and settings.nats_cert is None:
        if settings.nats_key is not None:
            raise SettingsError("nats_key is set without nats_cert, the certificate that it belongs to")
        return None
    try:
        made = ssl.create_default_context(cafile=settings.nats_ca and str(settings.nats_ca))
    except OSError as error:  # SSLError is one
        raise SettingsError(
            f"the certificates in nats_ca, {settings.nats_ca}, can't be used: {error}"
        ) from error
    if settings.nats_cert is not None:
        key = settings.nats_key or settings.nats_cert
        if key.exists() and key.stat().st_mode & 0o077:
            raise SettingsError(f"others may read the key in {key}; run: chmod 600 {key}")
        try:
            made.load_cert_chain(str(settings.nats_cert), settings.nats_key and str(settings.nats_key))
        except OSError as error:
            raise SettingsError(
                f"the certificate in nats_cert, {settings.nats_cert}, and its key can't be used: {error}"
            ) from error
    return made


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop what asyncio warns of whenever a server ends a TLS connection; nobody can act on it."""
    return "eof_received() has no effect" not in record.getMessage()


class Unproven(ConnectionError):
    """The server asked for a certificate of ours and hung up."""


def explained(problem: BaseException) -> str | None:
    """Say what is wrong with certificates; None where they are not the problem."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not good for us: {problem.verify_message.strip().rstrip('.')}; "
            "QME_NATS_CA names who may vouch for it, and QME_NATS_URL has to name it as its certificate does"
        )
    if isinstance(problem, Unproven) or (isinstance(problem, ssl.SSLError) and "certificate" in str(problem)):
        return "it wants a certificate of ours, or another one; QME_NATS_CERT and QME_NATS_KEY name them"
    return None
