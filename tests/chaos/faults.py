"""What is done to the services of a chaos run, one thing after the other, from a seed. Knows nothing of tasks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.site import Site, surely_started, surely_stopped

#: how often a kind of service is chosen
_WEIGHTS = {"worker": 5, "submitter": 3, "nats": 3}
#: what may happen to a service: kill -9, SIGSTOP and later SIGCONT, or SIGTERM as a restart sends it
KILLED, STOPPED, RESTARTED = "killed", "stopped", "restarted"
#: the longest that a killed service stays away and a stopped one stands still, in seconds
AWAY, LONGEST_STOP = 3.0, 8.0
#: seconds that a service is given to work again before it is hurt the next time
PATIENCE = 60.0


class Tormentor:
    """Hurts services until told to stop, then heals them all."""

    def __init__(self, site: Site, seed: int, gap: float) -> None:
        """`gap`: seconds between two faults, on average."""
        self._site = site
        self._dice = random.Random(seed)  # noqa: S311 -- it is to be repeated
        self._gap = gap
        self._hurt: set[str] = set()
        self.counts: Counter[str] = Counter()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Hurt services while the context lasts; all of them run when it has ended."""
        healing: set[asyncio.Task[None]] = set()
        work = asyncio.create_task(self._work(healing))
        try:
            yield
            if work.done():
                work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await asyncio.gather(*healing)

    async def _work(self, healing: set[asyncio.Task[None]]) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / self._gap))
            for name, action, seconds in self._choice():
                self._hurt.add(name)
                self.counts[f"{name.partition('-')[0]} {action}"] += 1
                healing.add(asyncio.create_task(self._harm(name, action, seconds)))

    def _choice(self) -> list[tuple[str, str, float]]:
        """Choose what happens next: names, what is done to them, and for how long; nothing to who is hurt already."""
        victims = self._site.victims
        if self._dice.random() < 0.03 and not self._hurt:  # as if the machine had failed
            return [(name, KILLED, self._dice.uniform(0.0, AWAY)) for name in victims]
        kind = self._dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        name = self._dice.choice([name for name in victims if name.startswith(kind)])
        # One NATS node at a time: a quorum is all that three of them promise to live on.
        busy = any(hurt.startswith("nats") for hurt in self._hurt) if kind == "nats" else name in self._hurt
        if busy:
            return []
        (action,) = self._dice.choices((KILLED, STOPPED, RESTARTED), (6, 3, 1))
        return [(name, action, self._dice.uniform(0.0, LONGEST_STOP if action == STOPPED else AWAY))]

    async def _harm(self, name: str, action: str, seconds: float) -> None:
        victim = self._site.victims[name]
        if action in (KILLED, RESTARTED):
            await (asyncio.to_thread(victim.kill) if action == KILLED else surely_stopped(victim))
            await asyncio.sleep(seconds)
            await surely_started(victim)
            # Sometimes hurt again while it starts, but not always: on a busy machine nothing would ever work.
            if self._dice.random() < 0.8:
                await self._site.until_ready(name, PATIENCE)
        else:
            victim.pause()
            try:
                await asyncio.sleep(seconds)
            finally:
                victim.resume()
        self._hurt.discard(name)
