"""What `qme submit` can say about an array: its indices, or a file with a line or an object for each task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

from qme.cli.parsing import Arguments
from qme.contracts.arrays import Array, of_lines, parse, pieces_of_lines
from qme.errors import InvalidRequest


def read_arrays(args: Arguments) -> list[Array]:
    """Make the array that was asked for, in pieces where it has too many lines for one; empty where none was.

    Raises InvalidRequest.
    """
    given = [name for name in ("array", "each_line", "from_json") if getattr(args, name) is not None]
    if not given:
        if args.at_once:
            raise InvalidRequest("--at-once needs --each-line or --from-json; --array says 1-100%8")
        return []
    if len(given) > 1:
        raise InvalidRequest("give one of --array, --each-line and --from-json")
    if args.array is not None:
        if args.at_once:
            raise InvalidRequest("--at-once is for --each-line and --from-json; --array says 1-100%8")
        return [parse(args.array)]
    if args.each_line is not None:
        return _arrays(_lines(args.each_line), "text", args.at_once)
    return _arrays(_objects(args.from_json), "json", args.at_once)


def _arrays(lines: list[str], kind: Literal["text", "json"], at_once: int) -> list[Array]:
    pieces = pieces_of_lines(lines, kind)
    if not at_once:
        return pieces
    if len(pieces) > 1:
        raise InvalidRequest(
            f"--at-once holds for one array, and these {len(lines)} lines take {len(pieces)}: give fewer, or shorter"
        )
    return [of_lines(lines, kind, at_once)]


def _lines(name: str) -> list[str]:
    return [line for line in _text(name).splitlines() if line.strip()]


def _objects(name: str) -> list[str]:
    """Read a JSON list of objects, or one object a line; each is given back as a line."""
    text = _text(name)
    try:
        said = json.loads(text)
    except ValueError:
        return [line for line in text.splitlines() if line.strip()]
    if isinstance(said, dict):
        said = [said]
    if not isinstance(said, list):
        raise InvalidRequest(f"{name} is neither a list of objects nor one object a line")
    return [json.dumps(one) for one in said]


def _text(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode()
    except OSError as error:
        raise InvalidRequest(f"can't read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"can't read {name}: it is not UTF-8 text") from error
