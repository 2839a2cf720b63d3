"""Ends the process tree of one attempt. Holds no loop, no clock, no scan: the service gives it look after look."""

from __future__ import annotations

import os
import signal

from . import proc

#: seconds between two looks at a tree: after something new turned up, doubling up to the slowest
FIRST_LOOK, LAST_LOOK = 0.01, 0.25


def send(target: proc.Process, number: int) -> bool:
    """Send a signal to exactly this process, never to one that got its pid later; False when it is not allowed."""
    try:
        fd = os.pidfd_open(target.pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):  # a kernel before 5.3: the pid alone has to do
        fd = -1
    try:
        row = proc.process(target.pid)
        if row is None or row.start_time != target.start_time:
            return True
        if fd < 0:
            os.kill(target.pid, number)
        else:
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return True
    except PermissionError:  # a set-uid program: only its own user may end it
        return False
    finally:
        if fd >= 0:
            os.close(fd)
    return True


class Ending:
    """A tree on its way out: TERM now, KILL once the grace is over, again and again until nothing of it is left."""

    def __init__(self, task: str, roots: dict[int, int], kill_at: float) -> None:
        self.task = task
        #: monotonic second of the first KILL
        self.kill_at = kill_at
        #: monotonic second of the next look
        self.due = 0.0
        #: pids that may not be signalled; they are not waited for
        self.untouchable: set[int] = set()
        self._since = min(roots.values(), default=0)
        self._roots = dict(roots)
        self._termed: dict[int, int] = {}
        self._pause = FIRST_LOOK

    def add(self, members: dict[int, int]) -> None:
        """Take processes (pid -> start time) that are known to belong here although nothing on them says so."""
        self._roots.update(members)

    def may_own(self, pid: int, start_time: int) -> bool:
        """Tell whether an orphan of unknown origin can be of this tree: it began later, and is not in it."""
        return start_time >= self._since and self._roots.get(pid) != start_time

    def look(self, rows: list[proc.Process], now: float) -> bool:
        """Signal what is there; True when nothing is left that can be signalled."""
        members = [row for row in proc.tree(rows, self.task, self._roots) if row.pid not in self.untouchable]
        fresh = [row for row in members if self._roots.get(row.pid) != row.start_time]
        # Kept as roots: a child that left session and environment behind is known by its parent only while that lives.
        self._roots.update((row.pid, row.start_time) for row in fresh)
        for row in members:
            if now >= self.kill_at:
                self._signal(row, signal.SIGKILL)
            elif self._termed.get(row.pid) != row.start_time:
                self._termed[row.pid] = row.start_time
                self._signal(row, signal.SIGTERM)
                self._signal(row, signal.SIGCONT)  # a stopped process takes its TERM only once it goes on
        self._pause = FIRST_LOOK if fresh else min(self._pause * 2, LAST_LOOK)
        self.due = now + self._pause
        if now < self.kill_at < self.due:
            self.due = self.kill_at
        return not members

    def _signal(self, row: proc.Process, number: int) -> None:
        if not send(row, number):
            self.untouchable.add(row.pid)
