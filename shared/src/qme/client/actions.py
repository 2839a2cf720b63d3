"""Actions on tasks: the reading ones of every executor are answered here, from record and logs; an executor's own ones
by the worker that holds the task, or another of its pool.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from qme.bus.port import Bus
from qme.client import excerpt
from qme.client.control import Control, checked, refuse
from qme.client.executors import definition_of, heartbeats
from qme.client.pieces import Chunk
from qme.contracts import subjects
from qme.contracts.executors import ActionInfo
from qme.contracts.messages import ActionRequest, Target
from qme.contracts.output import STDERR, STDOUT
from qme.contracts.tasks import TaskRecord
from qme.errors import BusUnavailable, InvalidRequest, NotFound
from qme.executor.base import COMMON_ACTIONS
from qme.settings import Settings

#: what `status` shows of a record
_STATUS = frozenset(
    ("uid", "status", "outcome", "reason", "attempt", "worker", "created", "started", "finished")
)
_STREAMS = {"output": STDOUT, "error": STDERR}


class Actions:
    """The actions of tasks; `admin` asks as an operator, which the bus allows operators only."""

    def __init__(self, bus: Bus, settings: Settings, *, admin: bool = False) -> None:
        self._bus = bus
        self._settings = settings
        self._admin = admin

    async def of(self, record: TaskRecord) -> tuple[ActionInfo, ...]:
        """List the actions that a task has."""
        definition = await definition_of(self._bus, record)
        return definition.actions if definition is not None and definition.actions else COMMON_ACTIONS

    async def run(self, record: TaskRecord, name: str, args: Mapping[str, Any] | None = None) -> Any:
        """Run an action and give its answer (JSON).

        Raises InvalidRequest for one that the task does not have, BusUnavailable where no worker is there to ask.
        """
        offered = {info.name: info for info in await self.of(record)}
        info = offered.get(name)
        if info is None:
            raise InvalidRequest(f"{record.executor} has no action {name!r}; it has {', '.join(offered)}")
        if info.remote:
            return await self._ask(record, name, args or {})
        if args:
            raise InvalidRequest(f"the action {name} takes no arguments")
        return await self._answer(record, name)

    async def signal(self, record: TaskRecord, name: str) -> str:
        """Have a running task's processes sent a signal, and tell what was done; the task goes on.

        Raises InvalidRequest where there is nothing to send it to.
        """
        if record.ended or record.claim is None:
            raise InvalidRequest("nothing of it runs" + ("" if record.ended else " yet"))
        return str(await self._ask(record, "signal", {"signal": name}))

    async def spooled(self, record: TaskRecord, stream: str, offset: int) -> AsyncIterator[Chunk]:
        """Give output from an offset on as the worker has it in its spool: also what log_limit kept from the bus."""
        while True:
            answer = await self._ask(record, "output", {"stream": stream, "offset": offset})
            data = base64.b64decode(answer["data"])
            if data:
                yield Chunk(record.attempt, stream, offset, data)
            offset += len(data)
            if not data or offset >= answer["size"]:
                return

    async def _answer(self, record: TaskRecord, name: str) -> Any:
        match name:
            case "status":
                shown = {
                    key: value for key, value in record.model_dump(mode="json").items() if key in _STATUS
                }
                return {**shown, "returncode": record.data.get("returncode")}
            case "output" | "error":
                return await excerpt.text(self._bus, record, _STREAMS[name])
            case "outputs":
                texts = {
                    key: await excerpt.text(self._bus, record, stream) for key, stream in _STREAMS.items()
                }
                return {key: excerpt.lines(said) for key, said in texts.items()}
            case "cancel":
                target = Target(uuid=record.uuid, attempt=record.attempt)
                (result,) = await Control(self._bus, self._settings).cancel([target], admin=self._admin)
                return checked(result).note or ("already ended" if result.already else "cancelled")
        raise InvalidRequest(
            f"this client can't answer the action {name!r}; it may be older than the executor"
        )

    async def _ask(self, record: TaskRecord, name: str, args: Mapping[str, Any]) -> Any:
        """Ask the worker that has the task, then any other that is alive in its pool."""
        place = (record.executor, record.pool)
        patience = self._settings.request_timeout
        request = ActionRequest(
            uuid=record.uuid,
            attempt=record.attempt,
            action=name,
            args=dict(args),
            expires=datetime.now(UTC) + timedelta(seconds=patience),
        )
        data = request.model_dump_json().encode()
        holders = [record.worker] if record.worker else []
        while True:
            for worker in holders:
                subject = subjects.action_subject(self._bus.user, *place, worker, admin=self._admin)
                try:
                    answer = await self._bus.request(subject, data, timeout=patience)
                except NotFound:  # nobody serves it: that worker is away
                    continue
                refuse(answer)
                return json.loads(answer)
            others = {beat.worker for beat in await heartbeats(self._bus, *place)} - set(holders)
            if not others:
                held = f"; it ran on {record.worker}" if record.worker else ""
                raise BusUnavailable(f"no worker of {'/'.join(place)} is there to ask{held}")
            holders = sorted(others)
