"""What `Queue` gives for a task: its record when asked for, and its actions. No connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from qme.client import excerpt
from qme.client.api import AsyncClient
from qme.contracts.output import STDERR, STDOUT
from qme.contracts.tasks import TaskRecord


class ExecutorName(NamedTuple):
    """The executor that runs a task, as the original's tasks name it."""

    name: str


class Task:
    """A task of a `Queue`. Made by it only."""

    def __init__(self, call: Callable[..., Any], record: TaskRecord) -> None:
        self._call = call
        self.record = record  #: as it was last read; `load` reads it anew

    @property
    def taskid(self) -> str:
        """The id, whole."""
        return self.record.uid

    @property
    def executor(self) -> ExecutorName:
        """The executor; ``task.executor.name`` is its name."""
        return ExecutorName(self.record.executor)

    @property
    def command(self) -> str:
        """The command's words joined by blanks."""
        return self.record.command

    @property
    def status(self) -> str:
        """Where it stands, as last read: such as ``queued``, ``running`` or ``complete``."""
        return str(self.record.status)

    @property
    def outcome(self) -> str | None:
        """How it ended, as last read: such as ``success`` or ``failed``; None before."""
        return None if self.record.outcome is None else str(self.record.outcome)

    @property
    def returncode(self) -> int | None:
        """The command's return code, as last read; None where there is none."""
        code = self.record.data.get("returncode")
        return code if isinstance(code, int) else None

    @property
    def output(self) -> str:
        """All that the current attempt has written to stdout, read anew, bytes that are not UTF-8 spelled out."""
        return self._text(STDOUT)

    @property
    def error(self) -> str:
        """The same of its stderr."""
        return self._text(STDERR)

    def summary(self) -> str:
        """One line: executor, how it stands, command."""
        stands = self.record.outcome or self.record.status
        return f"[{self.record.executor}][{stands}] {self.record.command}"

    def load(self) -> dict[str, Any]:
        """Read the task anew and give it as `qme get` prints it, with its output up to 64 KiB of each stream."""
        self.record = self._call(lambda client: client.get(self.record.uuid))
        return self.record.model_dump(mode="json")

    def export(self) -> dict[str, Any]:
        """Read the task anew and give what its executor exports."""
        data: dict[str, Any] = self.load()["data"]
        return data

    def wait(self, timeout: float | None = None) -> Task:
        """Wait until it has ended. Raises WaitTimedOut after `timeout` seconds, NotFound when it was cleared."""

        async def wait(client: AsyncClient) -> TaskRecord:
            (record,) = await client.wait([self.record.uuid], timeout)
            return record or await client.records.need(self.record.uuid)

        self.record = self._call(wait)
        return self

    def run_action(self, name: str, **args: str) -> Any:
        """Run one of the task's actions, such as ``output``, and give its answer."""

        async def run(client: AsyncClient) -> Any:
            self.record = await client.get(self.record.uuid, output=False)
            return await client.actions().run(self.record, name, args)

        return self._call(run)

    def _text(self, stream: str) -> str:
        async def read(client: AsyncClient) -> str:
            self.record = await client.get(self.record.uuid, output=False)
            return await excerpt.text(client.bus, self.record, stream)

        text: str = self._call(read)
        return text

    def __repr__(self) -> str:
        return f"<Task {self.taskid} {self.record.outcome or self.record.status}>"
