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


async def of(bus: Bus, record: TaskRecord) -> tuple[ActionInfo, ...]:
    """List the actions that a task has."""
    definition = await definition_of(bus, record)
    return definition.actions if definition is not None and definition.actions else COMMON_ACTIONS


async def run(
    bus: Bus, settings: Settings, record: TaskRecord, name: str, args: Mapping[str, Any] | None = None
) -> Any:
    """Run an action and give its answer (JSON). Raises InvalidRequest for one that the task does not have."""
    offered = {info.name: info for info in await of(bus, record)}
    info = offered.get(name)
    if info is None:
        raise InvalidRequest(f"{record.executor} has no action {name!r}; it has {', '.join(offered)}")
    if info.remote or (name == "output" and "offset" in (args or {})):
        return await _ask(bus, settings, record, name, args or {})
    if args:
        raise InvalidRequest(f"the action {name} takes no arguments")
    return await _answer(bus, settings, record, name)


async def spooled(
    bus: Bus, settings: Settings, record: TaskRecord, stream: str, offset: int
) -> AsyncIterator[Chunk]:
    """Give output from an offset on as the worker has it in its spool: also what was too much for the log stream."""
    while True:
        answer = await _ask(bus, settings, record, "output", {"stream": stream, "offset": offset})
        data = base64.b64decode(answer["data"])
        if data:
            yield Chunk(record.attempt, stream, offset, data)
        offset += len(data)
        if not data or offset >= answer["size"]:
            return


async def _answer(bus: Bus, settings: Settings, record: TaskRecord, name: str) -> Any:
    match name:
        case "status":
            shown = (
                "uid",
                "status",
                "outcome",
                "reason",
                "attempt",
                "worker",
                "created",
                "started",
                "finished",
            )
            return {
                **record.model_dump(mode="json", include=set(shown)),
                "returncode": record.data.get("returncode"),
            }
        case "output":
            return await excerpt.text(bus, record, STDOUT)
        case "error":
            return await excerpt.text(bus, record, STDERR)
        case "outputs":
            texts = {"output": STDOUT, "error": STDERR}
            return {
                key: excerpt.lines(await excerpt.text(bus, record, stream)) for key, stream in texts.items()
            }
        case "cancel":
            target = Target(uuid=record.uuid, attempt=record.attempt)
            (result,) = await Control(bus, settings).cancel([target])
            return checked(result).note or ("already ended" if result.already else "cancelled")
    raise InvalidRequest(f"this client can't answer the action {name!r}; it may be older than the executor")


async def _ask(bus: Bus, settings: Settings, record: TaskRecord, name: str, args: Mapping[str, Any]) -> Any:
    """Ask the worker that has the task, then any other that is alive in its pool."""
    holders = [record.worker] if record.worker else []
    expires = datetime.now(UTC) + timedelta(seconds=settings.request_timeout)
    request = ActionRequest(
        uuid=record.uuid, attempt=record.attempt, action=name, args=dict(args), expires=expires
    )
    data = request.model_dump_json().encode()
    while True:
        for worker in holders:
            subject = subjects.action_subject(bus.user, record.executor, record.pool, worker)
            try:
                answer = await bus.request(subject, data, timeout=settings.request_timeout)
            except NotFound:
                continue
            refuse(answer)
            return json.loads(answer)
        others = {beat.worker for beat in await heartbeats(bus, record.executor, record.pool)} - set(holders)
        if not others:
            held = f"; it ran on {record.worker}" if record.worker else ""
            raise BusUnavailable(f"no worker of {record.executor}/{record.pool} is there to ask{held}")
        holders = sorted(others)
