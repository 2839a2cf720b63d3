"""The description of the HTTP interface, as OpenAPI 3.1. Data only; tests hold it to the routes and their answers."""

from __future__ import annotations

from typing import Any

import qme
from qme.contracts.executors import Definition, Heartbeat
from qme.contracts.tasks import Outcome, Status, TaskRecord
from qme_dashboard import asking
from qme_dashboard.deeds import MOST, VERBS
from qme_dashboard.queries import LARGEST_PAGE, SORTS
from qme_dashboard.rows import GROUPS

Json = dict[str, Any]

#: how somebody shows who they are, by the setting dashboard_auth
_SCHEMES: dict[str, Json] = {
    "token": {"token": {"type": "http", "scheme": "bearer"}},
    "basic": {"password": {"type": "http", "scheme": "basic"}},
}
_REFUSALS = {
    "400": "what was asked for can't be read, and why",
    "401": "name and password, please",
    "403": "this is not for you, or this dashboard only shows",
    "404": "there is no such thing",
    "409": "it can't be done as things stand, or an id fits more than one task",
    "421": "this dashboard does not answer to that name",
    "503": "the bus is away, or the tasks have not been read yet",
}
_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 1, "maximum": asking.HIGHEST}
#: a page's number has eleven digits at most
_PAGE: Json = {"type": "integer", "minimum": 1, "maximum": 10**11 - 1, "default": 1}


def document(auth: str = "token") -> Json:
    """Give the document of a dashboard with that setting of dashboard_auth."""
    schemes = _SCHEMES.get(auth, {})
    needed: list[Json] = [{name: []} for name in schemes]
    if auth == "token":
        needed.append({})  # processes of its own account need none
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qme dashboard",
            "version": qme.__version__,
            "description": "Tasks of a qme bus. Changes need a dashboard that allows them (--allow-actions).",
        },
        "components": {"securitySchemes": schemes, "schemas": _schemas()},
        "security": needed,
        "paths": {
            "/healthz": {"get": _health("it works, or will by itself")},
            "/readyz": {"get": _health("what it shows is true now")},
            "/metrics": {"get": _said("gauges for Prometheus", media="text/plain")},
            "/api/openapi.json": {"get": _said("this document", {"type": "object"})},
            "/api/tasks": {"get": _list("tasks, newest first")},
            "/api/tasks/executor/{name}": {"get": _list("tasks of one executor", "name")},
            "/api/tasks/{verb}": {"post": _change()},
            "/api/tasks/{task}": {
                "get": _said("one task, as `qme get` prints it", _ref("TaskRecord"), "task")
            },
            "/api/tasks/{task}/output": {"get": _output()},
            "/api/tasks/{task}/events": {"get": _said("its audit trail", _array(_ref("Change")), "task")},
            "/api/tasks/{task}/action/{action}": {"post": _action()},
            "/api/executors": {"get": _said("executors with their workers", _array(_ref("Executor")))},
            "/executor/{task}": {"get": _redirect()},
        },
    }


def _schemas() -> Json:
    """Give what answers hold; records and definitions are described by their own models."""
    found: Json = {}
    for model in (TaskRecord, Definition, Heartbeat):
        schema = model.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    known = {"approved": {"type": "boolean"}, "workers": _array(_ref("Heartbeat"))}
    found["Executor"] = {"allOf": [_ref("Definition"), _object(known)]}
    found["Error"] = {**_object({"error": _TEXT, "code": _TEXT}), "required": ["error"]}
    found["Change"] = _object(
        {
            "at": _maybe({"type": "string", "format": "date-time"}), "task": _TEXT,
            "attempt": _maybe({"type": "integer"}), "status": _maybe(_TEXT), "outcome": _maybe(_TEXT),
            "by": _maybe(_TEXT),
        }
    )  # fmt: skip
    found["Task"] = _object(
        {
            **dict.fromkeys(("uuid", "uid", "executor", "pool", "user", "command"), _TEXT),
            "message": _maybe(_TEXT), "labels": {"type": "object", "additionalProperties": _TEXT},
            "status": {"enum": [*Status, "unreadable"]}, "outcome": {"enum": [*Outcome, None]}, "reason": _maybe(_TEXT),
            "attempt": {"type": "integer"}, "worker": _maybe(_TEXT),
            **{name: _maybe({"type": "string", "format": "date-time"}) for name in ("created", "started", "finished")},
            "returncode": _maybe({"type": "integer"}), "last_error": _maybe(_TEXT),
        }
    )  # fmt: skip
    found["Result"] = _object({"task": _TEXT, "ok": {"type": "boolean"}, "said": _TEXT})
    return found


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _maybe(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties]}


def _parameter(name: str, schema: Json, text: str = "", where: str = "query") -> Json:
    said = {"name": name, "in": where, "schema": schema, "description": text}
    return {**said, "required": True} if where == "path" else said


def _said(text: str, schema: Json | None = None, *path: str, media: str = "application/json") -> Json:
    error = {"content": {"application/json": {"schema": _ref("Error")}}}
    return {
        "summary": text,
        "parameters": [_parameter(name, _TEXT, where="path") for name in path],
        "responses": {
            "200": {"description": text, "content": {media: {"schema": schema or _TEXT}}},
            **{code: {"description": why, **error} for code, why in _REFUSALS.items()},
        },
    }


def _health(text: str) -> Json:
    content = {"text/plain": {"schema": _TEXT}}
    responses = {
        "200": {"description": "ok", "content": content},
        "503": {"description": "not ok", "content": content},
    }
    return {"summary": f"{text}: ok, or not ok; answered to anybody", "responses": responses, "security": []}


def _list(text: str, *path: str) -> Json:
    paging = {"total": {"type": "integer"}, "page": {"type": "integer"}, "limit": {"type": "integer"}}
    listed = _said(text, _object({**paging, "tasks": _array(_ref("Task"))}), *path)
    fields = ("pool", "user", "worker", "group") if path else ("executor", "pool", "user", "worker", "group")
    listed["parameters"] += [
        *(_parameter(name, _TEXT) for name in fields),
        _parameter(
            "state", _TEXT, f"a status, an outcome, or one of {', '.join(GROUPS)}; several with commas"
        ),
        _parameter("label", {"type": "string", "pattern": "="}, "KEY=VALUE; may be repeated"),
        _parameter("q", _TEXT, "a regular expression (RE2), as `qme search` takes it"),
        _parameter("since", {"type": "string", "format": "date-time"}, "created then or later"),
        _parameter("sort", {"type": "string", "enum": [*SORTS], "default": "created"}),
        _parameter("order", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}),
        _parameter("page", _PAGE),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 50}),
    ]
    return listed


def _posted(text: str, body: Json, answer: Json, *path: str) -> Json:
    asked = {"required": True, "content": {"application/json": {"schema": body}}}
    return {**_said(text, answer, *path), "requestBody": asked}


def _change() -> Json:
    seen = _object({"task": _TEXT, "attempt": _COUNT})
    tasks = {**_array({"anyOf": [_TEXT, seen]}), "minItems": 1, "maxItems": MOST}
    body = {
        **_object({"tasks": tasks, "force": {"type": "boolean", "default": False}}),
        "required": ["tasks"],
    }
    results = _object({"results": _array(_ref("Result"))})
    change = _posted("cancel, rerun or clear tasks, and what became of each", body, results, "verb")
    change["parameters"][0]["schema"] = {"type": "string", "enum": [*VERBS]}
    return change


def _action() -> Json:
    body = {"type": "object", "properties": {"args": {"type": "object", "additionalProperties": _TEXT}}}
    return _posted("run one of the task's actions", body, _object({"answer": {}}), "task", "action")


def _output() -> Json:
    said = _said("all that it wrote to one stream", _TEXT, "task", media="text/plain")
    said["parameters"] += [
        _parameter("stream", {"type": "string", "enum": ["stdout", "stderr"], "default": "stdout"}),
        _parameter("attempt", _COUNT, "an earlier attempt's"),
    ]
    return said


def _redirect() -> Json:
    said = _said("leads to the task's page", None, "task")
    del said["responses"]["200"]
    return {**said, "responses": {"307": {"description": "the page"}, **said["responses"]}}
