"""Reads what requests say, and spells what answers say. No bus, no store, no routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from qme.client.api import Change
from qme.client.executors import Known
from qme.errors import InvalidRequest
from qme_dashboard.queries import Filter, Paging

#: bytes that the body of a request may have
LARGEST = 256 * 1024
#: the highest number of an attempt
HIGHEST = 2**31 - 1
_TIMES = ("created", "started", "finished")


def read(parameters: Iterable[tuple[str, str]]) -> tuple[Filter, Paging]:
    """Read the parameters of a list. Raises InvalidRequest for one that there isn't: a slip must not show all."""
    said: dict[str, Any] = {"states": frozenset(), "labels": {}}
    paging: dict[str, Any] = {}
    for name, value in parameters:
        match name:
            case "executor" | "pool" | "user" | "worker" | "group":
                said[name] = value
            case "state" | "status":
                said["states"] |= {word for word in value.split(",") if word}
            case "label":
                said["labels"] |= _label(value)
            case "q":
                said["query"] = value
            case "since":
                said["since"] = _moment(value)
            case _ if name in _PAGING:
                paging |= _PAGING[name](value)
            case _:
                raise InvalidRequest(
                    f"there is no parameter {name!r}; /api/openapi.json lists those there are"
                )
    return Filter(**said), Paging(**paging)


def number(text: str | None, name: str) -> int | None:
    """Read a whole number. Raises InvalidRequest."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidRequest(f"{name}={text}: a whole number, please")
    return int(text)


async def body(request: Request) -> dict[str, Any]:
    """Read a JSON object. Raises InvalidRequest for anything else: a form is what another site's page could send."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest("send Content-Type: application/json")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > LARGEST:
            raise InvalidRequest(f"more than {LARGEST} bytes; name fewer tasks")
    try:
        said = json.loads(raw or b"{}")
    except ValueError as error:
        raise InvalidRequest(f"this is no JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("args", {}), dict):
        raise InvalidRequest("send a JSON object")
    return said


def ids(said: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Read which tasks are meant: ids, or objects with the attempt that was seen. Raises InvalidRequest."""
    tasks = said.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise InvalidRequest('name the tasks: {"tasks": ["ID", …]}')
    return [_id(task) for task in tasks]


def flag(said: dict[str, Any], name: str) -> bool:
    """Read a wish that is true or false. Raises InvalidRequest: a word such as "false" must not count as one."""
    value = said.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}: true or false, please, not {value!r}")
    return value


def _id(task: Any) -> tuple[str, int | None]:
    match task:
        case str():
            return task, None
        case {"task": str() as name, "attempt": int() as attempt} if _is_attempt(attempt):
            return name, attempt
    raise InvalidRequest(f'no task: {task!r}; say "ID" or {{"task": "ID", "attempt": N}}')


def _is_attempt(number: int) -> bool:
    return not isinstance(number, bool) and 1 <= number <= HIGHEST


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row of the store as the interface shows it: times as text, no names of our own making."""
    answer = {
        **row,
        "labels": json.loads(row["labels"]),
        "last_error": row["complaint"],
        "group": row["bundle"],
    }
    for name in _TIMES:
        answer[name] = None if row[name] is None else _iso(datetime.fromtimestamp(row[name], UTC))
    return {
        name: value for name, value in answer.items() if name not in ("grp", "complaint", "bundle", "after")
    }


def change_shown(change: Change) -> dict[str, Any]:
    """Give a line of the audit trail."""
    at = None if change.at is None else _iso(change.at)
    return {
        "at": at,
        "task": change.taskid,
        "attempt": int(change.attempt) if change.attempt.isdigit() else None,
        "status": change.status or None,
        "outcome": change.outcome or None,
        "by": change.by,
    }


def executor_shown(known: Known) -> dict[str, Any]:
    """Give an executor with its workers."""
    return {
        **known.definition.model_dump(mode="json"),
        "approved": known.approved,
        "workers": [beat.model_dump(mode="json") for beat in known.workers],
    }


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"since={text}: an ISO 8601 time, please") from error


def _label(text: str) -> dict[str, str]:
    key, equals, content = text.partition("=")
    if not equals:
        raise InvalidRequest(f"label={text}: say label=KEY=VALUE")
    return {key: content}


def _descends(order: str) -> bool:
    if order not in ("asc", "desc"):
        raise InvalidRequest(f"order={order}: asc or desc")
    return order == "desc"


_PAGING: dict[str, Callable[[str], dict[str, Any]]] = {
    "sort": lambda text: {"sort": text},
    "order": lambda text: {"descending": _descends(text)},
    "page": lambda text: {"page": number(text, "page")},
    "limit": lambda text: {"size": number(text, "limit")},
}
