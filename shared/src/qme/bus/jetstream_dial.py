"""Opens one connection to one of several servers, with the settings and checks that every connection of qme has.

Keeps nothing, and comes back from nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nats.errors import Error as NatsError

from qme import redact
from qme.bus import tls
from qme.bus.jetstream_client import OneConnection, others_first
from qme.bus.jetstream_own import OwnClient
from qme.errors import BusUnavailable, NotPermitted

#: older servers ignore a message's time to live without a word
OLDEST = (2, 11)
#: seconds that a server is given before the next one is tried beside it
START = 0.5
#: seconds that closing may take
_CLOSING = 2.0


async def dial(
    servers: Sequence[str],
    options: Mapping[str, Any],
    timeout: float,
    own: bool,
    shunned: str | None = None,
) -> OneConnection:
    """Connect to one of the servers within `timeout` seconds: the first that can be used, `shunned` as the last choice.

    They are tried side by side, each with a small start before the next, so that a frozen one costs no more than that.
    `own`: it is the embedded stack, so a server of another account is no server.

    Raises NotPermitted when the credentials are refused, BusUnavailable when no server answers or it can't be used.
    """
    problem: Exception | None = None
    left = others_first(random.sample(servers, len(servers)), shunned)[::-1]
    tries: dict[asyncio.Task[OneConnection], str] = {}
    try:
        async with asyncio.timeout(timeout):
            while left or tries:
                if left:
                    server = left.pop()
                    tries[asyncio.create_task(_try(server, options, timeout, own))] = server
                start = START if left else None
                done, _ = await asyncio.wait(tries, timeout=start, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    server = tries.pop(one)
                    error = one.exception()
                    if error is None:
                        return one.result()
                    if not isinstance(error, _Unusable):
                        raise error
                    problem = error.problem
                    if "authorization violation" in str(problem).lower():
                        advice = "`qme status` shows the local stack" if own else "check QME_NATS_CREDS"
                        raise NotPermitted(
                            f"NATS at {redact.text(server)} refuses the credentials; {advice}"
                        ) from problem
    except TimeoutError:
        problem = problem or TimeoutError(f"no answer within {timeout:g} s")
    finally:
        await _give_up(tries)
    where = redact.text(", ".join(servers))
    if own:
        raise BusUnavailable(
            f"the local stack does not answer at {where} ({problem}); `qme status` shows it"
        ) from problem
    why = tls.explained(problem) if problem else None
    if why is not None:
        raise BusUnavailable(f"NATS answers at {where}, but {why}") from problem
    raise BusUnavailable(f"NATS can't be reached at {where} ({problem}); check QME_NATS_URL") from problem


class _Unusable(Exception):
    """A server that did not answer, or not as it must."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem


async def _try(server: str, options: Mapping[str, Any], timeout: float, own: bool) -> OneConnection:
    client = OwnClient() if own else OneConnection()
    try:
        await _connect(client, server, options, timeout)
        await _check(client)
    except (NatsError, OSError, TimeoutError) as error:
        # nats-py names the last of several reasons only here
        problem = client.last_error or error
        if isinstance(problem, ConnectionError) and client.wants_certificate:
            problem = tls.Unproven()
        await quietly_close(client)
        raise _Unusable(problem) from error
    except BaseException:
        await quietly_close(client)
        raise
    return client


async def _give_up(tries: Iterable[asyncio.Task[OneConnection]]) -> None:
    for one in tries:
        one.cancel()
    for late in await asyncio.gather(*tries, return_exceptions=True):
        if isinstance(late, OneConnection):  # it was there as another one was taken
            await quietly_close(late)


async def _connect(client: OneConnection, server: str, options: Mapping[str, Any], timeout: float) -> None:
    # One try, which fails at once: `allow_reconnect` would repeat it for minutes.
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


async def _check(client: OneConnection) -> None:
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


async def quietly_close(client: OneConnection) -> None:
    """Close a client whatever state it is in; never raises."""

    async def close() -> None:
        with contextlib.suppress(Exception):  # closing a connection that is just being lost raises anything
            await client.close()

    _, late = await asyncio.wait({asyncio.create_task(close())}, timeout=_CLOSING)
    for task in late:
        task.cancel()
