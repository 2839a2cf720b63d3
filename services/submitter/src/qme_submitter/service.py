"""The submitter's endpoints: who asks, whether it is in time, and how it is answered. No rules on tasks here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

import qme
from qme.bus.port import Handler
from qme.bus.port import Request as Incoming
from qme.contracts import messages
from qme.contracts.messages import (
    HEADER_BEHALF,
    MAX_ITEMS,
    MAX_REQUEST,
    MatchReply,
    Request,
    Result,
    Results,
    Target,
)
from qme.contracts.subjects import ADMIN_VERBS, DASHBOARD, VERBS, api_subject, untoken
from qme.errors import BusUnavailable, InvalidRequest, NotPermitted, QmeError, from_wire, to_wire
from qme.observe.metrics import SubmitterMetrics
from qme_submitter.accept import Acceptor
from qme_submitter.admin import Admin
from qme_submitter.audit import Audit
from qme_submitter.changes import Asker, Changes
from qme_submitter.explain import explain, script_of
from qme_submitter.registry import Registry

NAME = "qme-submitter"
#: targets of one request that are worked on at the same time
TOGETHER = 32

#: verbs that change something, so that also a request of which nothing was done is remembered
AUDITED = frozenset({*VERBS, *ADMIN_VERBS} - {"match"})

RequestT = TypeVar("RequestT", bound=Request)


@dataclass
class Service:
    """Answers requests; any number of services share them."""

    registry: Registry
    acceptor: Acceptor
    changes: Changes
    admin: Admin
    audit: Audit
    metrics: SubmitterMetrics

    def serving(self) -> AbstractAsyncContextManager[None]:
        """Answer requests while the context lasts."""
        handlers: dict[str, Handler] = {}
        for admin, verbs in ((False, VERBS), (True, ADMIN_VERBS)):
            for verb in verbs:
                handlers[api_subject("*", verb, admin=admin)] = self._endpoint(verb, admin=admin)
        bus = self.changes.buckets.bus
        return bus.serve(NAME, handlers, version=qme.__version__)

    def _endpoint(self, verb: str, *, admin: bool) -> Handler:
        answers: dict[str, Callable[[Incoming, Asker], Awaitable[Results | MatchReply]]] = {
            "submit": self._submit,
            "cancel": self._cancel,
            "rerun": self._rerun,
            "clear": self._clear,
            "match": self._match,
            "forget": self._forget,
            "approve": self._approve,
            "pause": self._pause,
            "drain": self._drain,
            "resume": self._resume,
        }
        answer = answers[verb]

        async def endpoint(incoming: Incoming) -> bytes:
            try:
                reply = await answer(incoming, asker(incoming, admin=admin))
            except QmeError as error:
                self.metrics.request(verb, "error" if _ours(error) else "refused")
                if verb in AUDITED:
                    self.audit.note_refusal(incoming, verb, error, admin=admin)
                raise
            self.metrics.request(verb, _outcome(reply))
            return reply.model_dump_json(exclude_defaults=True).encode()

        return endpoint

    # -- one function per verb -----------------------------------------------------------------------------------------
    async def _submit(self, incoming: Incoming, by: Asker) -> Results:
        request = self._read(messages.SubmitRequest, incoming, lambda request: request.tasks)
        results = await self.acceptor.submit(request, by.name)
        self.audit.note(incoming, request, "submit", by, results)
        return results

    async def _cancel(self, incoming: Incoming, by: Asker) -> Results:
        request = self._read(messages.CancelTasks, incoming, lambda request: request.targets)
        results = await _each(request.targets, lambda one: self.changes.cancel(one, by, request.reason))
        self.audit.note(incoming, request, "cancel", by, results)
        return results

    async def _rerun(self, incoming: Incoming, by: Asker) -> Results:
        request = self._read(messages.RerunTasks, incoming, lambda request: request.targets)
        order = await self.changes.order(request.targets)

        async def rerun(target: Target) -> Result:
            try:
                await order.parents(target.uuid)
                return await self.changes.rerun(target, by, force=request.force)
            finally:
                order.settle(target.uuid)

        # All at once: those that wait for others of these must not keep them from their turn.
        results = await _each(request.targets, rerun, together=MAX_ITEMS)
        self.audit.note(incoming, request, "rerun", by, results)
        return results

    async def _clear(self, incoming: Incoming, by: Asker) -> Results:
        request = self._read(messages.ClearTasks, incoming, lambda request: request.targets)
        results = await _each(
            request.targets,
            lambda one: self.changes.clear(one, by, cancel=request.cancel, force=request.force),
        )
        self.audit.note(incoming, request, "clear", by, results)
        return results

    async def _match(self, incoming: Incoming, by: Asker) -> MatchReply:
        request = self._read(messages.MatchRequest, incoming, lambda request: (request.argv, *request.others))
        if not all(argv and argv[0].strip() for argv in (request.argv, *request.others)):
            raise InvalidRequest("the command is empty")
        await self.registry.refresh()
        routes, wanted = self.registry.routes, {"pool": request.pool, "executor": request.executor}
        reply = explain(routes, request.argv, by.name, self.registry.online(), **wanted)
        scripts = tuple(script_of(routes, argv, by.name, **wanted) for argv in request.others)
        candidates = tuple(
            one.model_copy(update={"seen": self.registry.seen(one.executor, one.pool)})
            for one in reply.candidates
        )
        return reply.model_copy(update={"scripts": scripts, "candidates": candidates})

    async def _forget(self, incoming: Incoming, by: Asker) -> Results:
        _operators_only(by)
        request = self._read(messages.ExecutorRequest, incoming)
        await self.admin.forget(request)
        self.audit.note(incoming, request, "forget", by)
        return Results(results=())

    async def _approve(self, incoming: Incoming, by: Asker) -> Results:
        _operators_only(by)
        request = self._read(messages.ExecutorRequest, incoming)
        await self.admin.approve(request, by.name)
        self.audit.note(incoming, request, "approve", by)
        return Results(results=())

    async def _pause(self, incoming: Incoming, by: Asker, *, drain: bool = False) -> Results:
        _operators_only(by)
        request = self._read(messages.PauseExecutor, incoming)
        await self.admin.pause(request, by.name, drain=drain)
        self.audit.note(incoming, request, "drain" if drain else "pause", by)
        return Results(results=())

    async def _drain(self, incoming: Incoming, by: Asker) -> Results:
        return await self._pause(incoming, by, drain=True)

    async def _resume(self, incoming: Incoming, by: Asker) -> Results:
        _operators_only(by)
        request = self._read(messages.ExecutorRequest, incoming)
        await self.admin.resume(request)
        self.audit.note(incoming, request, "resume", by)
        return Results(results=())

    def _read(
        self,
        kind: type[RequestT],
        incoming: Incoming,
        items: Callable[[RequestT], Sequence[object]] = lambda _: (),
    ) -> RequestT:
        request = decoded(kind, incoming.data)
        now = self.changes.buckets.clock()
        if request.expires.tzinfo is None:
            raise InvalidRequest("the request's `expires` lacks its time zone")
        if request.expires < now:
            late = (now - request.expires).total_seconds()
            raise InvalidRequest(
                f"the request came {late:.0f} s after its end and was not carried out; ask again "
                "(or set the clock, if this machine's differs from the submitter's)"
            )
        count = len(items(request))
        if count > MAX_ITEMS:
            raise InvalidRequest(f"the request names {count} tasks, the limit is {MAX_ITEMS}")
        if count > 1 and len(incoming.data) > MAX_REQUEST:
            raise InvalidRequest(
                f"the request has {len(incoming.data)} bytes, the limit for several tasks is {MAX_REQUEST}"
            )
        return request


def decoded(kind: type[RequestT], data: bytes) -> RequestT:
    """Read a request. Raises InvalidRequest, saying what is wrong with it."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(
            f"the request can't be read: {where} {first['msg']}".replace("  ", " ")
        ) from error


def asker(incoming: Incoming, *, admin: bool) -> Asker:
    """Tell who asks: the authenticated user, or the person that a dashboard asks for, with that person's rights."""
    name = untoken(incoming.user)
    person = incoming.headers.get(HEADER_BEHALF) if admin else None
    if person:
        return Asker(person)
    if admin and name.startswith(DASHBOARD):
        raise NotPermitted(f"{name} has to name the person it asks for in the header {HEADER_BEHALF}")
    return Asker(name, operator=admin)


def _operators_only(by: Asker) -> None:
    if not by.operator:
        raise NotPermitted("only an operator may forget, approve, pause or resume an executor")


async def _each(
    targets: Sequence[Target], change: Callable[[Target], Awaitable[Result]], *, together: int = TOGETHER
) -> Results:
    """Answer each target by itself; one that fails stops no other. Whole records only for one that stands alone."""
    gate = asyncio.Semaphore(together)

    async def one(target: Target) -> Result:
        async with gate:
            try:
                result = await change(target)
            except QmeError as error:
                return Result(uuid=target.uuid, error=to_wire(error)["error"])
        return result if len(targets) == 1 else result.model_copy(update={"record": None})

    return Results(results=tuple(await asyncio.gather(*(one(target) for target in targets))))


def _ours(error: QmeError) -> bool:
    return isinstance(error, BusUnavailable) or type(error) is QmeError


def _outcome(reply: Results | MatchReply) -> str:
    results = reply.results if isinstance(reply, Results) else ()
    errors = [from_wire(result.error) for result in results if result.error is not None]
    if not errors or len(errors) < len(results):
        return "ok"
    return "error" if any(_ours(error) for error in errors) else "refused"
