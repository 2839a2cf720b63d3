"""Answers requests to this worker: nudges, its executor's actions, output that only its spool has. Writes no record."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import os
import signal
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from pydantic import ValidationError

from qme.bus.port import Request
from qme.contracts import subjects
from qme.contracts.messages import ActionRequest
from qme.contracts.output import STREAMS
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, NotFound, NotPermitted
from qme.executor.attempts import AttemptDir
from qme.executor.base import Held, find_action, is_changing
from qme.observe.logging import bind_task, get_logger
from qme.worker.clock import now
from qme.worker.context import Context
from qme.worker.export import plain
from qme.worker.spooled import own_folder

log = get_logger(__name__)

#: seconds for which equal reading actions share one answer: a page watched by many asks the scheduler once
SHARED = 3.0
#: bytes of output in one answer
PIECE = 128 * 1024
#: bytes of an answer; more would not pass the bus
LARGEST = 512 * 1024
#: the action that every worker has, whatever its executor: a signal to what runs
SIGNAL = "signal"


def signal_number(name: str) -> int:
    """Give the number of a signal, by its name or number. Raises InvalidRequest."""
    with suppress(ValueError, KeyError):
        return int(
            signal.Signals(int(name))
            if name.isdecimal()
            else signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
        )
    raise InvalidRequest(f"there is no signal {name!r}; such as USR1, INT, STOP, CONT or KILL")


class Actions:
    """The actions of one worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._shared: dict[str, asyncio.Task[Any]] = {}

    def serve(self) -> AbstractAsyncContextManager[None]:
        """Answer while the context lasts."""
        context = self._context
        place = (context.executor.name, context.pool, context.worker)
        handlers = {
            subjects.action_subject("*", *place): self._as_user,
            subjects.action_subject("*", *place, admin=True): self._as_operator,
        }
        return context.bus.serve(f"qme-worker-{context.worker}", handlers)

    async def _as_user(self, request: Request) -> bytes:
        return await self._handle(request, operator=False)

    async def _as_operator(self, request: Request) -> bytes:
        return await self._handle(request, operator=True)

    async def _handle(self, request: Request, *, operator: bool) -> bytes:
        try:
            asked = ActionRequest.model_validate_json(request.data)
        except ValidationError as error:
            raise InvalidRequest("the request can't be read") from error
        if asked.expires.tzinfo is None:
            raise InvalidRequest("the request's `expires` lacks its time zone")
        if asked.expires < now():
            raise InvalidRequest("the request has expired; ask again")
        if not subjects.is_uuid(asked.uuid):
            raise InvalidRequest(f"not a task: {asked.uuid!r}")
        with bind_task(f"{self._context.executor.name}-{asked.uuid}"):
            result = await (
                self._nudge(asked) if asked.action is None else self._act(request, asked, operator)
            )
        answer = json.dumps(plain(result)).encode()
        if len(answer) > LARGEST:
            raise InvalidRequest(f"the answer of {asked.action} is too large: {len(answer)} bytes")
        return answer

    async def _nudge(self, asked: ActionRequest) -> dict[str, Any]:
        """Read the record of what we hold again. Anybody may ask: only what stands in the record counts."""
        held = [attempt for attempt in self._context.attempts() if attempt.spec.uuid == asked.uuid]
        await asyncio.gather(*(attempt.look(leader=True) for attempt in held))
        return {"held": bool(held)}

    async def _act(self, request: Request, asked: ActionRequest, operator: bool) -> Any:
        assert asked.action is not None  # noqa: S101 -- the caller has looked
        if asked.action == "output" and "offset" in asked.args:
            return self._output(asked)
        method = None if asked.action == SIGNAL else find_action(self._context.executor, asked.action)
        entry = await self._context.records.read(self._context.key(asked.uuid))
        if entry is None:
            raise NotFound(f"this pool has no task {asked.uuid}")
        record = entry.value
        changes = method is None or is_changing(method)
        if changes and not operator and subjects.token(record.user) != request.user:
            raise NotPermitted(
                f"{asked.action} changes a task of {record.user}'s: only they or an operator may"
            )
        if method is None:
            log.info("action.run", action=asked.action, by=request.user, operator=operator)
            return await self._signal(asked)
        try:
            inspect.signature(method).bind(None, **asked.args)
        except TypeError as error:
            raise InvalidRequest(f"the action {asked.action}: {error}") from error
        if changes:
            log.info("action.run", action=asked.action, by=request.user, operator=operator)
            return await method(await self._held(record), **asked.args)
        return await self._share(asked, record)

    async def _signal(self, asked: ActionRequest) -> str:
        """Send a signal to what runs of a task here."""
        number = signal_number(str(asked.args.get("signal", "")))
        held = [attempt for attempt in self._context.attempts() if attempt.spec.uuid == asked.uuid]
        if not held:
            raise NotFound("nothing of it runs here")
        return await self._context.executor.signal(held[0], number)

    async def _share(self, asked: ActionRequest, record: TaskRecord) -> Any:
        identity = json.dumps([asked.uuid, record.attempt, asked.action, asked.args], sort_keys=True)
        running = self._shared.get(identity)
        if running is None:
            self._shared[identity] = running = asyncio.create_task(self._read(asked, record))
            asyncio.get_running_loop().call_later(SHARED, self._shared.pop, identity, None)
        return await asyncio.shield(running)

    async def _read(self, asked: ActionRequest, record: TaskRecord) -> Any:
        method = find_action(self._context.executor, str(asked.action))
        return await method(await self._held(record), **asked.args)

    async def _held(self, record: TaskRecord) -> Held:
        directory = own_folder(self._context.settings, self._context.worker, record.uuid, record.attempt)
        spec = await self._context.records.spec(record.key)
        return Held(record, spec, directory if directory.is_dir() else None)

    def _output(self, asked: ActionRequest) -> dict[str, Any]:
        """Read output that is in the spool, also what went beyond the limit of the log stream."""
        folder = self._folder(asked)
        stream = asked.args.get("stream", STREAMS[0])
        if stream not in STREAMS:
            raise InvalidRequest(f"there is no stream {stream!r}; there are {', '.join(STREAMS)}")
        try:
            offset = int(asked.args["offset"])
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"not an offset: {asked.args['offset']!r}") from error
        if offset < 0:
            raise InvalidRequest(f"not an offset: {offset}")
        try:
            with (folder.path / stream).open("rb") as file:
                data = os.pread(file.fileno(), PIECE, offset)
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            raise NotFound(
                f"the {stream} of attempt {folder.attempt} is not in this worker's spool"
            ) from error
        return {"stream": stream, "offset": offset, "size": size, "data": base64.b64encode(data).decode()}

    def _folder(self, asked: ActionRequest) -> AttemptDir:
        spool = self._context.spool
        if asked.attempt is not None and asked.attempt > 0:
            return spool.attempt(asked.uuid, asked.attempt)
        ours = [folder for folder in spool if folder.uuid == asked.uuid]
        if not ours:
            raise NotFound(f"this worker's spool has nothing of {asked.uuid}")
        return max(ours, key=lambda folder: folder.attempt)
