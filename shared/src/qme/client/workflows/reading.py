"""Reads a workflow file, TOML or YAML, and says of each mistake in which line it stands. No tasks are made here."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from qme.client.workflows import lines
from qme.client.workflows.expansion import Flaw, Workflow, expand
from qme.client.workflows.model import Common, TaskText, WorkflowText
from qme.errors import InvalidRequest

#: mistakes that are told at once
SHOWN = 10


class Flaws(InvalidRequest):
    """A workflow's file has mistakes; `lines` has one for each."""

    code = "workflow"

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


_KINDS = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def read(path: Path) -> Workflow:
    """Read a file and give its tasks. Raises InvalidRequest; Flaws, which tell of each mistake in which line it is."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InvalidRequest(f"{path}: a workflow's file ends in .toml, .yaml or .yml")
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise InvalidRequest(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"can't read {path}: it is not UTF-8 text") from error
    where, data = (_toml if kind == "toml" else _yaml)(path, text)
    try:
        said = WorkflowText.model_validate(_underscored(data))
        return expand(said, path.absolute())
    except ValidationError as error:
        flaws = [_flaw(one["loc"], one["msg"], one["type"]) for one in error.errors(include_url=False)]
    except Flaw as error:
        flaws = [(error.where, str(error))]
    flaws.sort(key=lambda flaw: where.line(flaw[0]))
    told = [f"{path}:{where.line(place)}: {_spelled(place)}{text}" for place, text in flaws[:SHOWN]]
    if len(flaws) > SHOWN:
        told.append(f"{path}: and {len(flaws) - SHOWN} more")
    raise Flaws(list(dict.fromkeys(told)))


def _toml(path: Path, text: str) -> tuple[lines.Lines, Any]:
    try:
        return lines.of_toml(text), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path}: {error}") from None


def _yaml(path: Path, text: str) -> tuple[lines.Lines, Any]:
    import yaml  # of those who write YAML only

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        where = lines.of_yaml(node)
        return where, yaml.safe_load(text)
    except lines.Twice as error:
        raise InvalidRequest(f"{path}:{error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        at = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidRequest(f"{path}{at}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{path}: {error}") from None


def _underscored(data: Any) -> Any:
    """Spell keys of the form as the models do, so that `retry-on` may be written as the option is."""
    if not isinstance(data, dict):
        return data
    data = {lines.plain(key): value for key, value in data.items()}
    if isinstance(data.get("defaults"), dict):
        data["defaults"] = {lines.plain(key): value for key, value in data["defaults"].items()}
    if isinstance(data.get("tasks"), dict):
        data["tasks"] = {
            str(name): {lines.plain(key): value for key, value in task.items()}
            if isinstance(task, dict)
            else task
            for name, task in data["tasks"].items()
        }
    return data


def _flaw(loc: Sequence[int | str], message: str, kind: str) -> tuple[tuple[str, ...], str]:
    place = tuple(str(part) for part in loc if not _is_branch(str(part)))
    if kind == "extra_forbidden":
        return place, _unknown(place)
    if kind == "missing":
        return place, "is missing"
    if kind == "string_pattern_mismatch":
        return place, "can't be a name: letters, digits and _ . -"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return place, message


def _is_branch(part: str) -> bool:
    # How pydantic names the alternatives of a union, and a key itself; they stand in no file.
    return part in ("[key]", "str", "int", "float", "bool") or "[" in part


def _unknown(place: Sequence[str]) -> str:
    model: type[BaseModel] = WorkflowText
    if place[0] == "tasks":
        model = TaskText
    elif place[0] == "defaults":
        model = Common
    names = [name.replace("_", "-") for name in model.model_fields]
    near = difflib.get_close_matches(place[-1].replace("_", "-"), names, 1)
    return f"no such key; did you mean {near[0]}?" if near else f"no such key; there are {', '.join(names)}"


def _spelled(place: Sequence[str]) -> str:
    return ".".join(place).replace("_", "-") + ": " if place else ""
