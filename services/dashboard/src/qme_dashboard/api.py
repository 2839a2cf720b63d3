"""The HTTP interface beside the pages: tasks as JSON, changes of them, health, metrics. `guard` decides who may ask.

Answers come from the copy of the records, but for what only the bus has: one task with its output, and changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from qme.client import AsyncClient, Chunk
from qme.client.output import Output
from qme.client.selectors import Ambiguous
from qme.contracts.messages import Target
from qme.contracts.output import STREAMS
from qme.errors import BusUnavailable, InvalidRequest, NotFound, NotPermitted, QmeError
from qme_dashboard import asking, deeds, gauges
from qme_dashboard.deeds import Person
from qme_dashboard.guard import METRICS, OPEN, PERSON
from qme_dashboard.hub import Hub
from qme_dashboard.openapi import document
from qme_dashboard.words import path_of

Endpoint = Callable[[Request], Awaitable[Response]]

_STATUS = {Ambiguous: 409, NotFound: 404, NotPermitted: 403, InvalidRequest: 400, BusUnavailable: 503}


def _ok(holds: bool) -> Response:
    return PlainTextResponse("ok\n" if holds else "not ok\n", 200 if holds else 503)


class Api:
    """The routes, on one hub."""

    def __init__(self, hub: Hub, *, may_act: bool, named: bool, auth: str = "token") -> None:
        self._hub = hub
        self._auth = auth
        self._may_act, self._named = may_act, named

    def routes(self) -> list[Route]:
        """List what is served."""
        return [
            Route(OPEN[0], self.healthz),
            Route(OPEN[1], self.readyz),
            Route(METRICS, self.metrics),
            Route("/api/openapi.json", self.openapi),
            Route("/api/tasks", _guarded(self.tasks)),
            Route("/api/tasks/executor/{name}", _guarded(self.tasks_of)),
            Route("/api/tasks/{verb:str}", _guarded(self.change), methods=["POST"]),
            Route("/api/tasks/{task}", _guarded(self.task)),
            Route("/api/tasks/{task}/output", _guarded(self.output)),
            Route("/api/tasks/{task}/events", _guarded(self.events)),
            Route("/api/tasks/{task}/action/{action}", _guarded(self.action), methods=["POST"]),
            Route("/api/executors", _guarded(self.executors)),
            Route("/api/{rest:path}", _guarded(_nothing)),
            Route("/executor/{task}", _guarded(self.page_of)),
        ]

    # -- about itself ------------------------------------------------------------------------------------------------
    async def healthz(self, _: Request) -> Response:
        """Say whether it works, or will by itself once the bus is back."""
        return _ok(self._hub.alive)

    async def readyz(self, _: Request) -> Response:
        """Say whether what it shows is true now."""
        return _ok(self._hub.ready)

    async def metrics(self, _: Request) -> Response:
        """Give what Prometheus reads."""
        return Response(await run_in_threadpool(gauges.page, self._hub), media_type=gauges.MEDIA_TYPE)

    async def openapi(self, _: Request) -> Response:
        """Describe all this."""
        return JSONResponse(document(self._auth))

    # -- reading -----------------------------------------------------------------------------------------------------
    async def tasks(self, request: Request) -> Response:
        """List tasks, newest first, a page at a time."""
        return await self._listed(request)

    async def tasks_of(self, request: Request) -> Response:
        """List the tasks of one executor."""
        return await self._listed(request, executor=request.path_params["name"])

    async def _listed(self, request: Request, **fixed: str) -> Response:
        wanted, paging = asking.read([*request.query_params.multi_items(), *fixed.items()])
        self._loaded()
        total, rows = await run_in_threadpool(self._hub.store.page, wanted, paging)
        listed = {"total": total, "page": paging.page, "limit": paging.size}
        return JSONResponse({**listed, "tasks": [asking.shown(row) for row in rows]})

    async def task(self, request: Request) -> Response:
        """Give one task as `qme get` does."""
        name = request.path_params["task"]
        record = await self._hub.ask(lambda client: client.get(name))
        return Response(record.model_dump_json(), media_type="application/json")

    async def output(self, request: Request) -> Response:
        """Give all that a task wrote to one stream, as a file."""
        name, stream = request.path_params["task"], request.query_params.get("stream", STREAMS[0])
        if stream not in STREAMS:
            raise InvalidRequest(f"a task has no stream {stream!r}; it has {' and '.join(STREAMS)}")
        attempt = asking.number(request.query_params.get("attempt"), "attempt")
        record = await self._hub.ask(lambda client: client.get(name, output=False))
        headers = {"Content-Disposition": f'attachment; filename="{record.uid}.{stream}"'}

        async def pieces() -> AsyncIterator[bytes]:
            reading = await self._hub.ask(_reading(record.uuid, attempt, stream))
            source = reading.stored(record)
            while (piece := await self._hub.ask(lambda _: anext(source, None))) is not None:
                yield (
                    piece.data
                    if isinstance(piece, Chunk)
                    else b"\n[... %d bytes left out ...]\n" % piece.size
                )

        return StreamingResponse(pieces(), media_type="text/plain; charset=utf-8", headers=headers)

    async def events(self, request: Request) -> Response:
        """Give a task's audit trail."""
        name = request.path_params["task"]

        async def trail(client: AsyncClient) -> list[dict[str, Any]]:
            return [asking.change_shown(change) async for change in client.events(name)]

        return JSONResponse(await self._hub.ask(trail))

    async def executors(self, _: Request) -> Response:
        """List executors and workers."""
        return JSONResponse([asking.executor_shown(known) for known in self._hub.executors])

    async def page_of(self, request: Request) -> Response:
        """Lead to a task's page, for links of the original's form."""
        name = request.path_params["task"]
        record = await self._hub.ask(lambda client: client.get(name, output=False))
        return RedirectResponse(f"/{path_of(record.executor)}?task={record.uid}", 307)

    # -- changing ----------------------------------------------------------------------------------------------------
    async def change(self, request: Request) -> Response:
        """Cancel, rerun or clear tasks."""
        person, verb, body = self._person(request), request.path_params["verb"], await asking.body(request)
        ids, force = asking.ids(body), asking.flag(body, "force")
        deeds.check(person, verb, len(ids))  # before each of them is looked up

        async def change(client: AsyncClient) -> list[deeds.Done]:
            targets = [await self._target(client, one) for one in ids]
            return await deeds.change(client, person, verb, targets, force=force)

        done = await self._hub.ask(change)
        return JSONResponse({"results": [{"task": one.uid, "ok": one.ok, "said": one.said} for one in done]})

    async def action(self, request: Request) -> Response:
        """Run an action of a task."""
        person, body = self._person(request), await asking.body(request)
        task, name = request.path_params["task"], request.path_params["action"]
        args = {str(key): str(value) for key, value in body.get("args", {}).items()}
        answer = await self._hub.ask(lambda client: deeds.act(client, person, task, name, args))
        return JSONResponse({"answer": answer})

    async def _target(self, client: AsyncClient, one: tuple[str, int | None]) -> Target:
        name, attempt = one
        (target,) = await client.targets([name], unreadable=True)
        return target if attempt is None else target.model_copy(update={"attempt": attempt})

    def _person(self, request: Request) -> Person:
        return Person(unquote(request.headers[PERSON]), may_act=self._may_act, named=self._named)

    def _loaded(self) -> None:
        if not self._hub.store.loaded:
            raise BusUnavailable(
                f"the tasks have not been read yet: {self._hub.trouble or 'a moment, please'}"
            )


def _reading(
    uuid: str, attempt: int | None, stream: str
) -> Callable[[AsyncClient], Coroutine[Any, Any, Output]]:
    async def begin(client: AsyncClient) -> Output:
        return client.output(uuid, attempt=attempt, streams=(stream,))

    return begin


async def _nothing(request: Request) -> Response:
    raise NotFound(f"there is no {request.url.path}; /api/openapi.json lists what there is")


def _guarded(endpoint: Endpoint) -> Endpoint:
    """Turn refusals into answers."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except QmeError as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 409)
            return JSONResponse({"error": error.message, "code": error.code}, status)

    return answer
