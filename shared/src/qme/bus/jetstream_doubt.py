"""Doubts a server that leaves calls unanswered: without a sign of life from it, the link goes to another one.

For nodes that are frozen, or cut off from the rest of their cluster: both still hold their connections. Where there is
one server only, nothing is doubted.
"""

from __future__ import annotations

import asyncio

from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Unanswered
from qme.errors import BusUnavailable, NotPermitted

#: seconds without an answer after which whoever waits for one may doubt
PATIENCE = 3.0
#: seconds that a server has to give its sign of life
_ANSWER = 2.0
#: seconds until another one is left: while a leader is elected no server gives a sign, and going round helps nobody
_TRUST = 9.0


class Doubt:
    """One link's doubts."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._asking = False
        self._trusted_until = 0.0

    async def voice(self) -> None:
        """Ask the server for a sign of life, and leave it when there is none. Never raises; may be repeated."""
        link, clock = self._link, asyncio.get_running_loop().time
        client = link.client
        if client is None or not (link.connected and link.may_choose):
            return
        if self._asking or clock() < self._trusted_until:
            return
        self._asking = True
        try:
            well = await self._has_life()
        finally:
            self._asking = False
        if not well:
            self._trusted_until = clock() + _TRUST
            await link.leave(client)

    async def _has_life(self) -> bool:
        try:
            answer = await self._link.ask("$JS.API.INFO", timeout=_ANSWER)
        except NotPermitted:  # then it can't be known
            return True
        except (Unanswered, BusUnavailable):
            return False
        return bool(answer.data) and b'"error"' not in answer.data
