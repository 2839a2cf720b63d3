"""Stands before everything that the dashboard serves, pages, data and websockets alike, and asks `access` about each.

Plain ASGI, since Starlette's middleware for HTTP does not see websockets. It also says in its answers what a browser
may do with them. Who somebody is travels inwards in a header of ours, which nobody outside can set.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import replace
from urllib.parse import parse_qsl, quote, urlencode

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qme.observe.peer import uid_between
from qme_dashboard.access import Allowed, Asked, Refused, Rules, judge

#: names the person, percent-encoded, to what lies behind
PERSON = "x-qme-person"
#: answered to anybody: they say ok or not ok
OPEN = ("/healthz", "/readyz")
#: answered to whoever shows the token of the setting metrics_token, too
METRICS = "/metrics"
#: scripts of pages come from here and nowhere else, and nothing that a task wrote can make a browser ask another host
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:;"
    " frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
)
_SAID = {
    "content-security-policy": _POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_CHALLENGE = {"www-authenticate": 'Basic realm="qme", charset="UTF-8"'}


class Guard:
    """Lets through what the rules allow."""

    def __init__(self, app: ASGIApp, rules: Rules, metrics_token: str | None = None) -> None:
        self._app = app
        self._rules = rules
        self._metrics_token = metrics_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request; pass everything else, such as the start of the server."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http" and (scope["path"] in OPEN or self._is_prometheus(scope)):
            await self._app(scope, receive, _saying(send))
            return
        asked = _asked(scope)
        verdict = judge(asked, self._rules)
        if isinstance(verdict, Refused) and self._rules.auth == "token" and _is_own(scope):
            # Asked last: the kernel's table of all connections is read for it.
            verdict = judge(replace(asked, own=True), self._rules)
            if isinstance(verdict, Allowed) and "text/html" in asked.headers.get("accept", ""):
                send = self._remembering(send)
        if isinstance(verdict, Allowed) and not (verdict.enter and scope["type"] == "http"):
            await self._app(_named(scope, verdict.person), receive, _saying(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            answer = self._entrance(scope) if isinstance(verdict, Allowed) else _refusal(verdict)
            await answer(scope, receive, _saying(send))

    def _is_prometheus(self, scope: Scope) -> bool:
        if scope["path"] != METRICS or scope["method"] != "GET" or not self._metrics_token:
            return False
        said = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(said, b"Bearer " + self._metrics_token.encode())

    def _entrance(self, scope: Scope) -> Response:
        """Lead on to the same address without the token, which would stay in histories, with a cookie instead."""
        rest = [(name, value) for name, value in _query(scope) if name != "token"]
        answer = RedirectResponse(_local(scope["path"]) + (f"?{urlencode(rest)}" if rest else ""), 303)
        self._remember(answer)
        return answer

    def _remember(self, answer: Response) -> None:
        answer.set_cookie(self._rules.cookie, self._rules.session, httponly=True, samesite="lax")

    def _remembering(self, send: Send) -> Send:
        """Give the cookie with a page, whose hundred files need no look into that table then."""
        cookie = Response()
        self._remember(cookie)
        said = [pair for pair in cookie.raw_headers if pair[0] == b"set-cookie"]

        async def remembering(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *said]}
            await send(message)

        return remembering


def _asked(scope: Scope) -> Asked:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # A name that stands twice could mean one thing here and another behind us.
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Asked(
        method=scope.get("method", "GET"),
        headers=headers,
        token=dict(_query(scope)).get("token", ""),
        websocket=scope["type"] == "websocket",
    )


def _is_own(scope: Scope) -> bool:
    here, there = scope.get("server"), scope.get("client")
    if not here or not there or here[1] is None:
        return False
    # Twice: the table is read piece by piece, and a line can slip away between two of them.
    return any(uid_between(here, there) == os.getuid() for _ in range(2))


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _local(path: str) -> str:
    """Give a path that can't be taken for another host's address."""
    return "/" + path.lstrip("/\\")


def _named(scope: Scope, person: str) -> Scope:
    others = [(name, value) for name, value in scope["headers"] if name.lower() != PERSON.encode()]
    return {**scope, "headers": [*others, (PERSON.encode(), quote(person).encode())]}


def _refusal(verdict: Refused) -> Response:
    return JSONResponse({"error": verdict.why}, verdict.status, _CHALLENGE if verdict.challenge else None)


def _saying(send: Send) -> Send:
    """Add what a browser has to know to every answer."""

    async def saying(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.decode().lower() not in _SAID]
            message = {
                **message,
                "headers": [*kept, *((name.encode(), value.encode()) for name, value in _SAID.items())],
            }
        await send(message)

    return saying
