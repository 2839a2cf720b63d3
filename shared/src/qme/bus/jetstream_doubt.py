"""Doubts a server that leaves calls unanswered: without a sign of life from it, the link goes to another one.

For nodes that are frozen, or cut off from the rest of their cluster: both still hold their connections. Where there is
one server only, nothing is doubted.
"""

from __future__ import annotations

import asyncio
import json

from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Unanswered
from qme.contracts import rights, subjects
from qme.errors import BusUnavailable, NotPermitted

#: seconds without an answer after which whoever waits for one may doubt
PATIENCE = 3.0
#: seconds that a server has to give its sign of life
_ANSWER = 2.0
#: seconds until another one is left: while a leader is elected no server gives a sign, and going round helps nobody
_TRUST = 9.0
#: seconds since a leader has heard from a follower, which it does each second, after which it hears no more from it
_SILENCE = 5.0
#: who leads the records: everybody may ask for that
_QUESTION = rights.size(subjects.bucket_stream(subjects.BUCKET_TASKS))


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
            answer = await self._link.ask(_QUESTION, timeout=_ANSWER)
        except NotPermitted:  # then it can't be known
            return True
        except (Unanswered, BusUnavailable):
            return False
        return is_sign_of_life(answer.data)


def is_sign_of_life(answer: bytes) -> bool:
    """Tell whether who answered so about a stream is in touch with those who decide.

    The leader of the whole cluster says for up to twenty seconds that all is well after it was cut off, so more than
    a word is asked for: a leader of the stream, and one that hears from enough others. A single server has neither.
    """
    said = json.loads(answer or b'{"error": {}}')
    if "error" in said:
        # There is no such stream: what only the leader of a whole cluster can say.
        return bool(said["error"].get("code") == 404)
    cluster = said.get("cluster")
    if not cluster:
        return True
    others = cluster.get("replicas") or []
    heard = [one for one in others if not one.get("offline") and one["active"] < _SILENCE * 1e9]
    return bool(cluster.get("leader")) and len(heard) >= (len(others) + 1) // 2
