"""Opens one client of nats-py, with the settings and checks that every connection of qme has. Keeps nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from qme import redact
from qme.bus.jetstream_own import OwnClient
from qme.errors import BusUnavailable, NotPermitted

#: older servers ignore a message's time to live without a word
OLDEST = (2, 11)
#: seconds that closing may take
_CLOSING = 2.0


async def dial(servers: Sequence[str], options: Mapping[str, Any], timeout: float, own: bool) -> Client:
    """Connect to one of the servers, within `timeout` seconds, and from then on reconnect for ever.

    `own`: it is the embedded stack, so a server of another account is no server, now and later.

    Raises NotPermitted when the credentials are refused, BusUnavailable when no server answers or it can't be used.
    """
    problem: Exception | None = None
    advice = "`qme status` shows the local stack" if own else "check QME_NATS_CREDS"
    try:
        async with asyncio.timeout(timeout):
            for server in random.sample(servers, len(servers)):
                client = OwnClient() if own else Client()
                try:
                    await _connect(client, server, options, timeout)
                    await _check(client)
                except (NatsError, OSError, TimeoutError) as error:
                    # nats-py names the last of several reasons only here
                    problem = client.last_error or error
                    await quietly_close(client)
                except BaseException:
                    await quietly_close(client)
                    raise
                else:
                    if len(servers) > 1:
                        client.set_server_pool(list(servers))
                    return client
                if "authorization violation" in str(problem).lower():
                    raise NotPermitted(
                        f"NATS at {redact.text(server)} refuses the credentials; {advice}"
                    ) from problem
    except TimeoutError:
        problem = problem or TimeoutError(f"no answer within {timeout:g} s")
    where = redact.text(", ".join(servers))
    if own:
        raise BusUnavailable(
            f"the local stack does not answer at {where} ({problem}); `qme status` shows it"
        ) from problem
    raise BusUnavailable(f"NATS can't be reached at {where} ({problem}); check QME_NATS_URL") from problem


async def _connect(client: Client, server: str, options: Mapping[str, Any], timeout: float) -> None:
    # The first connection is one try, which fails at once: `allow_reconnect` would repeat it for minutes.
    await client.connect(
        [server],
        **options,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0.05,  # type: ignore[arg-type] # any number does
        connect_timeout=timeout,  # type: ignore[arg-type]
        max_outstanding_pings=2,
        flush_timeout=2.0,
    )
    client.options.update(allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=0.5)


async def _check(client: Client) -> None:
    version = client.connected_server_version
    try:
        known = (version.major, version.minor)
    except ValueError:  # a build of one's own
        known = OLDEST
    if known < OLDEST:
        raise BusUnavailable(
            f"nats-server {known[0]}.{known[1]} is too old, qme needs {OLDEST[0]}.{OLDEST[1]} or newer"
        )
    # A member of a cluster may have none itself and reach the others': then the account's own question is answered.
    if not client._server_info.get("jetstream"):  # noqa: SLF001 - nats-py has no public face for it
        try:
            await client.request("$JS.API.INFO", timeout=2)
        except NatsError as error:
            raise BusUnavailable("this NATS server runs without JetStream; start it with -js") from error


async def quietly_close(client: Client) -> None:
    """Close a client whatever state it is in; never raises."""

    async def close() -> None:
        with contextlib.suppress(Exception):  # closing a connection that is just being lost raises anything
            await client.close()

    _, late = await asyncio.wait({asyncio.create_task(close())}, timeout=_CLOSING)
    for task in late:
        task.cancel()
