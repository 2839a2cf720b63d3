"""The keeper's loop: answers its worker on a socket, starts and reaps commands, records how they ended.

It lives on when the worker goes, and answers the next one; it ends by itself when nothing runs and nobody asks.
One JSON object a line each way; a request carries an `id`, which its answer repeats. A `task` is ``<uuid>.<attempt>``.

    {"do": "start", "task", "argv", "env", "cwd", "umask", "stdin": path|null, "not_after": seconds|null}
        -> {"result": "started", "task", "pid", "start_time"}  pid null: it could not be run, see its exit record
         | {"result": "already"}   its token exists: this or another keeper has started it before
         | {"result": "expired"}   read later than `not_after` (CLOCK_BOOTTIME); nothing was started
         | {"error": text}         nothing was started; the same request may be sent again
    {"do": "signal", "task", "pid", "start_time", "signal"}           -> {"result": number of processes}
    {"do": "end", "task", "pid", "start_time", "grace": seconds,      -> {"result": [pids we may not signal],
     "reason": text for its record}                                       "unclear": [pids]}, once nothing else of
                                       the tree is left; unclear: orphans that may be of this or of another task
    {"do": "list"}  -> {"running": {task: [pid, start_time]}, "unsaved": {task: exit record}}
    {"do": "quit"}  -> {"result": "quitting"}; it ends when nothing runs
    every end of a command -> {"event": "exit", "task", "exit": {…}, "saved": true|false}
"""

from __future__ import annotations

# pathlib would double the keeper's start time
import json
import os
import re
import selectors
import signal
import sys
import time

from . import proc
from .connection import Connection
from .door import Door
from .ending import Ending, send
from .journal import Journal, exit_record
from .launch import CannotStart, Launch, Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Launches = list[tuple[Any, Launch]]  # number of the request, token made

_TASK = re.compile(r"[0-9a-f-]{36}\.[1-9][0-9]{0,8}\Z")


class Service:
    """One keeper: its clients, its running commands, and the trees that are being ended."""

    def __init__(self, lock: int, idle: float, sync: bool) -> None:
        self._idle = idle
        self._sync = sync
        self._home = os.open(".", os.O_RDONLY)
        self._clients: set[Connection] = set()
        self._by_pid: dict[int, Running] = {}
        self._by_task: dict[str, Running] = {}
        self._endings: list[tuple[Connection, Any, Ending]] = []
        self._journal = Journal()
        #: the only task that whatever descends from us can belong to, where there is but one
        self._sole: str | None = None
        self._quitting = False
        self._selector = selectors.DefaultSelector()
        self._door = Door(self._home, lock, self._selector)
        self._watch_signals()

    def _watch_signals(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: what is ignored would be inherited by the commands.
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._quit)
        self._selector.register(reader, selectors.EVENT_READ)

    def _quit(self, *_: object) -> None:
        self._quitting = True

    # --- the loop -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until it is told to quit, or nobody was there for the idle time; never while something runs."""
        idle_since = now = time.monotonic()
        while not self._finished(now - idle_since):
            for entry, _ in self._selector.select(self._timeout(now, idle_since)):
                if isinstance(entry.data, Connection):
                    self._serve(entry.data)
                elif entry.fileobj is self._door.listener:
                    self._accept()
                else:
                    os.read(entry.fd, 4096)
            self._reap()
            now = time.monotonic()
            self._look_at_endings(now)
            self._journal.retry(now)
            self._door.look(now)
            self._tend_clients()
            if self._clients or self._is_busy():
                idle_since = now
        self._door.close()

    def _is_busy(self) -> bool:
        return bool(self._by_pid or self._endings or self._journal.is_busy)

    def _finished(self, idle: float) -> bool:
        return not self._is_busy() and (self._quitting or (not self._clients and idle >= self._idle))

    def _timeout(self, now: float, idle_since: float) -> float | None:
        due = [ending.due for *_, ending in self._endings]
        if self._journal.is_busy:
            due.append(self._journal.retry_at)
        if not self._clients:
            due.append(idle_since + self._idle)
        if self._clients or self._is_busy():
            due.append(self._door.look_at)
        return max(0.0, min(due) - now) if due else None

    # --- clients ------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        # A client is heard in the round after this one at the earliest. What its predecessor asked before it died is
        # read in this round, so a worker that has the list and finds no token may rely on it that none will follow.
        try:
            sock, _ = self._door.listener.accept()
        except OSError:
            return
        client = Connection(sock)
        if client.uid not in (os.geteuid(), 0):
            sock.close()
            return
        self._clients.add(client)
        self._selector.register(sock, selectors.EVENT_READ, client)

    def _tend_clients(self) -> None:
        for client in list(self._clients):
            if client.open:
                client.flush()  # once a round: an answer and an event cost one write and wake the worker once
            if client.open:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.has_unread else 0)
                if self._selector.get_key(client.sock).events != events:
                    self._selector.modify(client.sock, events, client)
            else:
                self._selector.unregister(client.sock)
                client.sock.close()
                self._clients.discard(client)

    def _serve(self, client: Connection) -> None:
        launches: Launches = []
        for line in client.receive():
            request: dict[str, Any] = {}
            try:
                request = json.loads(line)
                if request["do"] == "start":
                    self._prepare(client, request, launches)
                else:
                    self._start(client, launches)  # a later request sees what came before it
                    self._answer(client, request)
            except Exception as error:  # one bad request must not end the parent of all commands
                sys.excepthook(*sys.exc_info())
                client.send({"id": request.get("id"), "error": f"{type(error).__name__}: {error}"})
        self._start(client, launches)

    def _answer(self, client: Connection, request: dict[str, Any]) -> None:
        answer: dict[str, Any]
        match request["do"]:
            case "list":
                running = {task: [command.pid, command.start_time] for task, command in self._by_task.items()}
                answer = {"running": running, "unsaved": self._journal.unsaved}
            case "signal":
                task, roots = self._roots(request)
                members = proc.tree(self._scan(), task, roots)
                answer = {"result": sum(send(row, request["signal"]) for row in members)}
            case "end":
                self._reap()  # what has ended by now was not ended by this
                if command := self._by_task.get(_task(request)):
                    command.ended_for = command.ended_for or request.get("reason")
                ending = Ending(*self._roots(request), time.monotonic() + request["grace"])
                self._endings.append((client, request["id"], ending))
                return
            case "quit":
                self._quitting = True
                answer = {"result": "quitting"}
            case unknown:
                answer = {"error": f"unknown request {unknown!r}"}
        client.send({"id": request["id"], **answer})

    # --- commands -----------------------------------------------------------------------------------------------

    def _prepare(self, client: Connection, request: dict[str, Any], launches: Launches) -> None:
        """Make the token, or answer why not. Spawning follows for all starts that came together."""
        not_after = request.get("not_after")
        if not_after is not None and time.clock_gettime(time.CLOCK_BOOTTIME) > not_after:
            client.send({"id": request["id"], "result": "expired"})
            return
        try:
            launches.append((request["id"], Launch(_task(request), request)))
        except FileExistsError:
            client.send({"id": request["id"], "result": "already"})
        except OSError as error:
            client.send({"id": request["id"], "error": f"spool: {error.strerror}"})

    def _start(self, client: Connection, launches: Launches) -> None:
        """Sync the tokens together (a disk does that in about one go), then spawn one after the other."""
        for number, launch in launches if self._sync else ():
            try:
                launch.sync()
            except OSError as error:
                launch.withdraw()
                client.send({"id": number, "error": f"spool: {error.strerror}"})
        for number, launch in launches:
            if launch.withdrawn:
                continue
            alone = not proc.has_children()
            try:
                command = launch.spawn(self._home)
            except CannotStart as error:
                client.send({"id": number, "result": "started", "task": launch.task, "pid": None})
                self._record(launch.task, exit_record(error.status, launch.started, error=str(error)))
            except OSError as error:
                launch.withdraw()
                client.send({"id": number, "error": f"{error.strerror}"})
            else:
                self._by_pid[command.pid] = self._by_task[command.task] = command
                self._sole = command.task if alone else None
                named = {"task": command.task, "pid": command.pid, "start_time": command.start_time}
                client.send({"id": number, "result": "started", **named})
        launches.clear()

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            command = self._by_pid.pop(pid, None)
            if command is None:  # an orphan of some command, which came to us as their subreaper
                continue
            del self._by_task[command.task]
            record = exit_record(os.waitstatus_to_exitcode(status), command.started, usage)
            self._record(command.task, {**record, "ended_for": command.ended_for})

    def _record(self, task: str, record: dict[str, Any]) -> None:
        saved = self._journal.save(task, record)
        for client in self._clients:
            client.send({"event": "exit", "task": task, "exit": record, "saved": saved})

    # --- trees --------------------------------------------------------------------------------------------------

    def _roots(self, request: dict[str, Any]) -> tuple[str, dict[int, int]]:
        """Name an attempt and its first process: ours, or the one that the client knows from a keeper before us."""
        task = _task(request)
        if command := self._by_task.get(task):
            return task, {command.pid: command.start_time}
        return task, {request["pid"]: request["start_time"]} if request.get("pid") else {}

    def _scan(self) -> list[proc.Process]:
        """See all processes but those that can't be part of a task: init, our own session, and our clients."""
        apart = {1, *(client.pid for client in self._clients)}
        own = os.getsid(0)
        return [row for row in proc.snapshot() if row.pid not in apart and row.session != own]

    def _look_at_endings(self, now: float) -> None:
        due = [entry for entry in self._endings if entry[2].due <= now]
        rows = self._scan() if due else []
        for entry in due:
            client, number, ending = entry
            strays = proc.strays(rows, os.getpid(), self._by_pid)
            if self._sole == ending.task:
                ending.add(strays)
                strays = {}
            command = self._by_task.get(ending.task)
            # A command that is gone but not reaped yet has no exit record: the answer waits for that too.
            if ending.look(rows, now) and (command is None or command.pid in ending.untouchable):
                self._endings.remove(entry)
                unclear = sorted(pid for pid, since in strays.items() if ending.may_own(pid, since))
                client.send({"id": number, "result": sorted(ending.untouchable), "unclear": unclear})


def _task(request: dict[str, Any]) -> str:
    """Read which attempt is meant; it becomes part of a path, so it must look like one."""
    task = str(request["task"])
    if not _TASK.match(task):
        raise ValueError(f"not an attempt: {task}")
    return task
