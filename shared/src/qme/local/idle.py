"""Whether anybody still needs the stack: commands, connections, tasks. Asks; what follows is the supervisor's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping

from qme.executor.processes import capture
from qme.local import ports
from qme.local.layout import Layout
from qme.local.plan import Plan

#: seconds that the look at all tasks may take
_PROBE_PATIENCE = 120.0


class Watch:
    """Knows since when nobody has used the stack. Cheap: the tasks are looked at only after all else was quiet."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self._plan = plan
        self._layout = layout
        self._busy = time.time()
        self._seen = 0.0

    async def is_over(self, port: int, servants: Iterable[int], env: Mapping[str, str]) -> bool:
        """Tell whether the stack has been idle for long enough.

        `servants` are the pids of its own services, `env` is for the program that counts the tasks.
        """
        if not self._plan.idle_stop:
            return False
        if ports.strangers(port, servants):
            self._busy = time.time()
        if not self._is_quiet():
            return False
        self._busy = max(self._busy, await self._last_task(env))
        return self._is_quiet()

    def was_used(self) -> bool:
        """Tell whether a command has come since the last answer of `is_over`."""
        return self._last_command() != self._seen

    def _is_quiet(self) -> bool:
        self._seen = self._last_command()
        return time.time() - max(self._busy, self._seen) >= self._plan.idle_stop

    def _last_command(self) -> float:
        try:
            return self._layout.ready.stat().st_mtime
        except OSError:  # nobody has seen the stack serve yet
            return time.time()

    async def _last_task(self, env: Mapping[str, str]) -> float:
        """Give the time of the last end of a task; now while one has not ended, and when that can't be told."""
        try:
            said = await capture(self._plan.probe, timeout=_PROBE_PATIENCE, env=env)
            tasks = json.loads(said.stdout)
            return time.time() if tasks["unended"] else float(tasks["latest"])
        except (OSError, ValueError, KeyError, TypeError):
            return time.time()
