"""In which line of a file a key stands. For messages only: where a line can't be told, that of what is around it is.

Neither the standard library's TOML nor pydantic keeps places, so TOML's are found by its headers and the keys that
begin a line; YAML's parser tells them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_KEY = re.compile(r"\s*((?:[A-Za-z0-9_.\s-]|\"[^\"]*\"|'[^']*')+?)\s*=")
_HEADER = re.compile(r"\s*\[([^\[\]].*?)\]\s*(?:#.*)?$")


class Twice(Exception):
    """A key stands twice in one place."""

    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"{key}: stands here a second time")
        self.line = line


def plain(key: Any) -> str:
    """Spell a key as the models do."""
    return str(key).replace("-", "_")


@dataclass
class Lines:
    """Lines by path of keys."""

    _known: dict[tuple[str, ...], int] = field(default_factory=dict)

    def note(self, place: Sequence[str], line: int) -> None:
        """Take in where a key stands; the first line counts."""
        for end in range(1, len(place) + 1):
            self._known.setdefault(tuple(plain(part) for part in place[:end]), line)

    def line(self, place: Sequence[str]) -> int:
        """Give the line of a key, or of the nearest thing around it."""
        path = tuple(plain(part) for part in place)
        while path and path not in self._known:
            path = path[:-1]
        return self._known.get(path, 1)


def of_toml(text: str) -> Lines:
    """Find the lines of a TOML file's keys."""
    lines, table, quotes = Lines(), [], None
    for number, line in enumerate(text.splitlines(), 1):
        if quotes is None:
            if header := _HEADER.match(line):
                table = _path(header[1])
                lines.note(table, number)
            elif key := _KEY.match(line):
                lines.note([*table, *_path(key[1])], number)
        quotes = _open_quotes(line, quotes)
    return lines


def _open_quotes(line: str, quotes: str | None) -> str | None:
    """Tell whether a string of several lines goes on behind a line."""
    for mark in re.findall(r'"""|\'\'\'', line):
        quotes = mark if quotes is None else None if mark == quotes else quotes
    return quotes


def _path(text: str) -> list[str]:
    try:
        data: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return [text]
    path: list[str] = []
    while isinstance(data, dict):
        ((key, data),) = data.items()
        path.append(key)
    return path


def of_yaml(node: Any) -> Lines:
    """Find the lines of a YAML document's keys. Raises Twice."""
    lines = Lines()
    _walk(node, [], lines)
    return lines


def _walk(node: Any, place: list[str], lines: Lines) -> None:
    if node is None or isinstance(node.value, str):
        return
    seen: set[str] = set()
    for at, item in enumerate(node.value):
        if not isinstance(item, tuple):
            lines.note([*place, str(at)], item.start_mark.line + 1)
            _walk(item, [*place, str(at)], lines)
            continue
        key, value = item
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen and name != "<<":
            raise Twice(name, line)
        seen.add(name)
        lines.note([*place, name], line)
        _walk(value, [*place, name], lines)
