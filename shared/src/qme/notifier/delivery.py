"""Brings one piece of news to its reader: one try of each way. When to try again is decided in `service`."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import qme
from qme.errors import QmeError
from qme.executor.processes import capture
from qme.notifier.wishes import variables

#: seconds that one try may take
PATIENCE = 30.0


class Undelivered(QmeError):
    """The news did not reach its reader."""

    retryable = True


async def by_command(line: str, told: Mapping[str, Any]) -> None:
    """Run a shell line with the news on its stdin, as JSON, and in ``QME_…`` variables. Raises Undelivered."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}
    try:
        done = await capture(
            ["/bin/sh", "-c", line],
            PATIENCE,
            own | variables(dict(told)),
            stdin=json.dumps(told).encode() + b"\n",
        )
    except OSError as error:
        raise Undelivered(f"notify_command can't be run: {error.strerror}") from error
    if done.timed_out:
        raise Undelivered(f"notify_command did not end within {PATIENCE:g} s")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise Undelivered(f"notify_command ended with {done.returncode}: {said}")


async def by_webhook(url: str, told: Mapping[str, Any]) -> None:
    """POST the news as JSON; a status of 2xx is an arrival, no redirection is followed. Raises Undelivered."""
    request = urllib.request.Request(  # noqa: S310 - the setting takes http and https only
        url,
        json.dumps(told).encode(),
        {"Content-Type": "application/json", "User-Agent": f"qme/{qme.__version__}"},
    )
    try:
        await asyncio.to_thread(_post, request)
    except (OSError, ValueError) as error:  # HTTPError and URLError are OSErrors
        raise Undelivered(f"notify_url: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _post(request: urllib.request.Request) -> None:
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=PATIENCE) as answer:
        answer.read(1)
