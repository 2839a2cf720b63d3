"""Requests to the submitters: made once, repeated under the same id until answered. No reading of records here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from qme.bus.port import Bus
from qme.client.origin import new_uuid
from qme.contracts import subjects
from qme.contracts.messages import (
    HEADER_BEHALF,
    MAX_ITEMS,
    MAX_REQUEST,
    CancelTasks,
    ClearTasks,
    ExecutorRequest,
    MatchReply,
    MatchRequest,
    PauseExecutor,
    Request,
    RerunTasks,
    Result,
    Results,
    Submission,
    SubmitRequest,
    Target,
)
from qme.errors import BusUnavailable, LimitReached, NotFound, QmeError, from_wire, to_wire
from qme.settings import Settings

ReplyT = TypeVar("ReplyT", bound=BaseModel)

#: bytes of a request that are not its tasks
_FRAME = 1024
#: the first pause before a service that is not there is asked again, and the longest
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Control:
    """The control plane as one user sees it.

    Every request may be repeated as it is: a submission brings its uuid, the others name the attempt that was
    seen, so a second one answers "already". `admin` asks as an operator, which the bus allows operators only;
    `behalf` does so for a person, to whose rights the submitters hold it.
    Each method raises what the submitters answered with, or BusUnavailable when none did in time; what concerns
    one task only stands in its `Result`.
    """

    def __init__(self, bus: Bus, settings: Settings, *, behalf: str | None = None) -> None:
        self._bus = bus
        self._settings = settings
        self._headers = None if behalf is None else {HEADER_BEHALF: behalf}

    async def submit(self, tasks: Iterable[Submission]) -> AsyncIterator[Result]:
        """Submit tasks, in batches that a request can hold; gives each one's result in order, as answers come."""
        for batch in batches(tasks):
            for result in await self._accepted(batch):
                yield result

    async def cancel(
        self, targets: Sequence[Target], *, reason: str | None = None, admin: bool = False
    ) -> list[Result]:
        """End tasks that are queued or running."""
        return await self._on_tasks("cancel", CancelTasks, targets, admin, reason=reason)

    async def rerun(
        self, targets: Sequence[Target], *, force: bool = False, admin: bool = False
    ) -> list[Result]:
        """Start another attempt of tasks that have ended."""
        return await self._on_tasks("rerun", RerunTasks, targets, admin, force=force)

    async def clear(
        self, targets: Sequence[Target], *, cancel: bool = False, force: bool = False, admin: bool = False
    ) -> list[Result]:
        """Remove ended tasks."""
        return await self._on_tasks("clear", ClearTasks, targets, admin, cancel=cancel, force=force)

    async def match(
        self, argv: tuple[str, ...], *, shell: bool, executor: str | None, pool: str | None
    ) -> MatchReply:
        """Explain where a command would go."""
        request = MatchRequest(**self._frame(), argv=argv, shell=shell, executor=executor, pool=pool)
        return await self._ask("match", request, MatchReply)

    async def scripts(
        self, commands: Sequence[tuple[str, ...]], executor: str | None, pool: str | None
    ) -> list[str | None]:
        """Tell for each command how the executor that it would go to names scripts; one request for them all."""
        first, *others = commands
        request = MatchRequest(
            **self._frame(), argv=first, others=tuple(others), executor=executor, pool=pool
        )
        reply = await self._ask("match", request, MatchReply)
        if len(reply.scripts) == len(others):
            return [reply.script, *reply.scripts]
        # A submitter of an earlier version reads the first one only.
        return [(await self.scripts([argv], executor, pool))[0] for argv in commands]

    async def on_executor(self, verb: str, executor: str, pool: str | None) -> Results:
        """Ask for `forget`, `approve` or `resume`; always as an operator."""
        request = ExecutorRequest(**self._frame(), executor=executor, pool=pool)
        return await self._ask(verb, request, Results, admin=True)

    async def pause(self, executor: str, pool: str | None, reason: str, *, drain: bool = False) -> Results:
        """Have an executor's workers take nothing new; always as an operator."""
        request = PauseExecutor(**self._frame(), executor=executor, pool=pool, reason=reason)
        return await self._ask("drain" if drain else "pause", request, Results, admin=True)

    async def _accepted(self, batch: Sequence[Submission]) -> Sequence[Result]:
        """Submit a batch; what the bus kept a submitter from knowing is asked again, under the same uuid."""
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + self._settings.request_timeout, _FIRST_PAUSE
        found: dict[str, Result] = {}
        open_ = list(batch)
        while True:
            request = SubmitRequest(**self._frame(), tasks=tuple(open_))
            results = (await self._ask("submit", request, Results)).results
            found |= {task.uuid: result for task, result in zip(open_, results, strict=True)}
            open_ = [task for task in open_ if _undecided(found[task.uuid])]
            if not open_ or clock() + pause >= deadline:
                return [_uncertain(found[task.uuid]) for task in batch]
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _on_tasks(
        self,
        verb: str,
        kind: type[CancelTasks | RerunTasks | ClearTasks],
        targets: Sequence[Target],
        admin: bool,
        **fields: Any,
    ) -> list[Result]:
        results: list[Result] = []
        for at in range(0, len(targets), MAX_ITEMS):
            request = kind(**self._frame(), targets=tuple(targets[at : at + MAX_ITEMS]), **fields)
            results += (await self._ask(verb, request, Results, admin=admin)).results
        return results

    def _frame(self) -> dict[str, Any]:
        expires = datetime.now(UTC) + timedelta(seconds=self._settings.request_timeout)
        return {"id": new_uuid(), "expires": expires, "client": self._settings.host}

    async def _ask(self, verb: str, request: Request, reply: type[ReplyT], *, admin: bool = False) -> ReplyT:
        subject = subjects.api_subject(self._bus.user, verb, admin=admin or self._headers is not None)
        answer = await self._answer(subject, request.model_dump_json(exclude_defaults=True).encode())
        return decoded(answer, reply)

    async def _answer(self, subject: str, data: bytes) -> bytes:
        clock = asyncio.get_running_loop().time
        begin, pause = clock(), _FIRST_PAUSE
        patience = self._settings.request_timeout
        limit = min(patience, self._settings.publish_retry)
        unserved: float | None = None  # since when the bus knows nobody who serves it
        while True:
            try:
                # Three tries fit: one may be lost with a dying submitter, one on a line that the bus still believes in.
                left = begin + patience - clock()
                patient = min(patience / 3, left)
                return await self._bus.request(subject, data, timeout=patient, headers=self._headers)
            except NotFound as error:
                unserved = unserved or clock()
                if clock() + pause >= min(unserved + limit, begin + patience):
                    raise _unserved(limit) from error
            except BusUnavailable:
                unserved = None
                if clock() + pause >= begin + patience:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def decoded(answer: bytes, reply: type[ReplyT]) -> ReplyT:
    """Read a service's answer. Raises the error that it sent, QmeError for what can't be read."""
    refuse(answer)
    try:
        return reply.model_validate_json(answer)
    except ValidationError as error:
        raise QmeError(f"the answer of the service can't be read: {answer[:80]!r}") from error


def refuse(answer: bytes) -> None:
    """Raise the error if a service answered with one."""
    if answer.startswith(b'{"error"'):
        raise from_wire(json.loads(answer)["error"])


def checked(result: Result) -> Result:
    """Give a result that is no error. Raises the error that stands in it."""
    if result.error is not None:
        raise from_wire(result.error)
    return result


def _undecided(result: Result) -> bool:
    """The submitter could not learn whether it stored the task: repeating is safe, and the only way to know."""
    if result.error is None:
        return False
    error = from_wire(result.error)
    return error.retryable and not isinstance(error, LimitReached)  # a full bus has refused it


def _uncertain(result: Result) -> Result:
    if not _undecided(result):
        return result
    error = from_wire(result.error or {})
    text = f"{error.message}; the task may have been accepted: `qme get {result.uuid}` tells"
    return result.model_copy(update={"error": to_wire(type(error)(text))["error"]})


def batches(tasks: Iterable[Submission]) -> Iterator[list[Submission]]:
    """Split tasks so that each request stays within its limit; a task larger than that goes alone."""
    batch: list[Submission] = []
    size = _FRAME
    for task in tasks:
        own = len(task.model_dump_json(exclude_defaults=True).encode()) + 1
        if batch and (size + own > MAX_REQUEST or len(batch) == MAX_ITEMS):
            yield batch
            batch, size = [], _FRAME
        batch.append(task)
        size += own
    if batch:
        yield batch


def _unserved(seconds: float) -> BusUnavailable:
    return BusUnavailable(
        f"no submitter has answered for {seconds:g} s; `qme doctor` looks for one, `qme status` shows the local one"
    )
