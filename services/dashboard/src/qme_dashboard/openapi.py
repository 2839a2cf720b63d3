"""The description of the HTTP interface, as OpenAPI 3.1. Data only; a test holds it to the routes."""

from __future__ import annotations

from typing import Any

import qme
from qme_dashboard.queries import LARGEST_PAGE, SORTS
from qme_dashboard.rows import GROUPS


def document() -> dict[str, Any]:
    """Give the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qme dashboard",
            "version": qme.__version__,
            "description": "Tasks of a qme bus. Changes need a dashboard that allows them (--allow-actions).",
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": {
            "/healthz": {
                "get": _said("it works, or will by itself: ok, or not ok with status 503", "text/plain")
            },
            "/readyz": {
                "get": _said("what it shows is true now: ok, or not ok with status 503", "text/plain")
            },
            "/metrics": {"get": _said("gauges for Prometheus", "text/plain")},
            "/api/openapi.json": {"get": _said("this document")},
            "/api/tasks": {"get": _list("tasks, newest first")},
            "/api/tasks/executor/{name}": {"get": _list("tasks of one executor", "name")},
            "/api/tasks/{verb}": {"post": _change()},
            "/api/tasks/{task}": {"get": _said("one task, as `qme get` prints it", path=("task",))},
            "/api/tasks/{task}/output": {"get": _output()},
            "/api/tasks/{task}/events": {"get": _said("its audit trail", path=("task",))},
            "/api/tasks/{task}/action/{action}": {"post": _action()},
            "/api/executors": {"get": _said("executors with their workers")},
            "/executor/{task}": {"get": _redirect()},
        },
    }


def _parameter(name: str, schema: dict[str, Any], text: str = "", where: str = "query") -> dict[str, Any]:
    said = {"name": name, "in": where, "schema": schema, "description": text}
    return {**said, "required": True} if where == "path" else said


def _said(text: str, media: str = "application/json", path: tuple[str, ...] = ()) -> dict[str, Any]:
    said: dict[str, Any] = {
        "summary": text,
        "responses": {"200": {"description": text, "content": {media: {}}}},
    }
    if path:
        said["parameters"] = [_parameter(name, {"type": "string"}, where="path") for name in path]
    return said


def _list(text: str, *path: str) -> dict[str, Any]:
    word = {"type": "string"}
    listed = _said(text, path=path)
    listed["parameters"] = [
        *listed.get("parameters", []),
        *(
            _parameter(name, word)
            for name in ("executor", "pool", "user", "worker", "group")
            if name not in path
        ),
        _parameter(
            "state", word, f"a status, an outcome, or one of {', '.join(GROUPS)}; several with commas"
        ),
        _parameter("label", word, "KEY=VALUE; may be repeated"),
        _parameter("q", word, "a regular expression (RE2), as `qme search` takes it"),
        _parameter("since", {"type": "string", "format": "date-time"}, "created then or later"),
        _parameter("sort", {"type": "string", "enum": [*SORTS], "default": "created"}),
        _parameter("order", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}),
        _parameter("page", {"type": "integer", "minimum": 1, "default": 1}),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 50}),
    ]
    return listed


def _posted(text: str, schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    posted = {**_said(text, path=path), "requestBody": body}
    posted["responses"] |= {"403": {"description": "read-only, or not yours"}}
    return posted


def _change() -> dict[str, Any]:
    seen = {"type": "object", "properties": {"task": {"type": "string"}, "attempt": {"type": "integer"}}}
    schema = {
        "type": "object",
        "required": ["tasks"],
        "properties": {
            "tasks": {"type": "array", "items": {"anyOf": [{"type": "string"}, seen]}},
            "force": {"type": "boolean", "default": False},
        },
    }
    change = _posted("cancel, rerun or clear tasks, and what became of each", schema, ("verb",))
    change["parameters"][0]["schema"] = {"type": "string", "enum": ["cancel", "rerun", "clear"]}
    return change


def _action() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"args": {"type": "object"}}}
    return _posted("run one of the task's actions", schema, ("task", "action"))


def _output() -> dict[str, Any]:
    said = _said("all that it wrote to one stream", "text/plain", ("task",))
    said["parameters"] += [
        _parameter("stream", {"type": "string", "enum": ["stdout", "stderr"], "default": "stdout"}),
        _parameter("attempt", {"type": "integer"}, "an earlier attempt's"),
    ]
    return said


def _redirect() -> dict[str, Any]:
    said = _said("", path=("task",))
    return {**said, "summary": "leads to the task's page", "responses": {"307": {"description": "the page"}}}
