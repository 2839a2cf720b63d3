"""What `search` looks at in a record, and how its pattern is read. Pure; only the search verb imports this (re2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import re2

from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest

#: tells whether a text holds what is searched
Test = Callable[[str], bool]


def matcher(query: str) -> Callable[[TaskRecord], bool]:
    """Make the test for a regular expression, upper and lower case alike. Raises InvalidRequest for a bad one."""
    found = pattern(query)
    return lambda record: any(found(text) for text in texts(record))


def pattern(query: str) -> Test:
    """Make the test of one text for a regular expression, as `matcher` does."""
    if not query:
        raise InvalidRequest("there is nothing to search for")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(query, options=options)  # alone first, so that an error shows it as it was typed
        compiled = re2.compile(f"(?ims){query}", options=options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise InvalidRequest(f"{query!r} is not a regular expression (RE2): {reason}") from error
    return lambda text: compiled.search(text) is not None


def texts(record: TaskRecord) -> Iterator[str]:
    """Give what is searched: the id, the command, the message and every value in the exported data."""
    yield record.uid
    yield record.command
    if record.message:
        yield record.message
    yield from _values(record.data)


def _values(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _values(value)
    elif isinstance(data, list) and all(isinstance(item, str) for item in data):
        yield "".join(data) if any(item.endswith("\n") for item in data) else " ".join(data)
    elif isinstance(data, list):
        for value in data:
            yield from _values(value)
    elif data is not None:
        yield json.dumps(data)
