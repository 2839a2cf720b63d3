"""What the process trees of tasks use, for those that said how much memory they need. Ends nothing.

One look a second at all of them together, and none while nobody asked. A tree's resident sets are added up, which
counts more than once what its processes share; so where that sum is too much, the shared parts are counted once (PSS)
before it is believed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qme.executor.keeper import proc
from qme.executor.processes import Identity
from qme.observe.logging import get_logger

log = get_logger(__name__)

#: seconds between two looks
LOOK = 1.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Watched:
    roots: Mapping[int, int]
    limit: int
    over: asyncio.Future[int]


class MemoryWatch:
    """Watches the trees of one worker's commands."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._looking: asyncio.Task[None] | None = None

    async def exceeded(self, task: str, first: Identity | None, limit: int) -> int:
        """Wait until the tree of an attempt (``<uuid>.<attempt>``) uses more than `limit` bytes, and give how many."""
        roots = {first.pid: first.start_time} if first else {}
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watched[task] = watched = _Watched(roots, limit, over)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            return await over
        finally:
            if self._watched.get(task) is watched:
                del self._watched[task]

    async def _look(self) -> None:
        while self._watched:
            await asyncio.sleep(LOOK)
            watched = dict(self._watched)
            try:
                used = await asyncio.to_thread(
                    measure, {task: (w.roots, w.limit) for task, w in watched.items()}
                )
            except OSError as error:
                log.warning("memory.not_read", problem=str(error))
                continue
            for task, amount in used.items():
                if amount > watched[task].limit and not watched[task].over.done():
                    watched[task].over.set_result(amount)


def measure(trees: Mapping[str, tuple[Mapping[int, int], int]]) -> dict[str, int]:
    """Give the bytes that each attempt's tree uses; its first processes are given, and when to look more closely."""
    rows = proc.snapshot()
    used = {}
    for task, (roots, limit) in trees.items():
        pids = [row.pid for row in proc.tree(rows, task, dict(roots))]
        used[task] = sum(map(_resident, pids))
        if used[task] > limit:
            used[task] = sum(map(_proportional, pids))
    return used


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    return 0


def _proportional(pid: int) -> int:
    """Count what it shares by its share; as `_resident` where the kernel does not tell."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)
