"""What a workflow file may say, as pydantic models. The words are those of `qme submit`'s options. No files here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from qme.contracts.tasks import Outcome
from qme.settings import duration
from qme.settings import size as size_kind

#: ends after which a task may be run again by itself
_RETRIED = [one.value for one in Outcome if one not in (Outcome.SUCCESS, Outcome.CANCELLED)]
Scalar = str | int | float | bool
#: a task's name; brackets belong to what a matrix makes of it
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"should be {duration().allowed}")  # noqa: TRY004 - pydantic words a ValueError
    try:
        return duration().parse(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not {duration().allowed}") from None


def _bytes(value: Any) -> Any:
    kind = size_kind(1)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"should be {kind.allowed}")  # noqa: TRY004 - the same
    try:
        return kind.parse(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not {kind.allowed}") from None


def _retried(value: Any) -> Any:
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",")]
    for word in value if isinstance(value, list | tuple) else ():
        if word not in _RETRIED:
            raise ValueError(f"{word!r} can't be retried; choose from {', '.join(_RETRIED)}")
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Outcomes = Annotated[tuple[Outcome, ...], BeforeValidator(_retried)]
Count = Annotated[int, Field(ge=0, strict=True)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Common(_Said):
    """What may stand with a task, and under `defaults` for all of them; the names are those of `Options`."""

    message: str | None = None
    executor: str | None = None
    pool: str | None = None
    labels: dict[str, Scalar] = {}
    env: dict[str, Scalar] = {}
    cwd: str | None = None
    timeout: Seconds | None = None
    cpus: Count = 0
    mem: Bytes = 0
    gpus: Count = 0
    exclusive: bool = False
    priority: Annotated[int, Field(strict=True)] = 0
    retries: Count = 0
    retry_delay: Seconds | None = None
    retry_backoff: Annotated[float, Field(ge=1)] | None = None
    retry_on: Outcomes = ()


class TaskText(Common):
    """One task, or one for each choice of values of its matrix."""

    command: Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)]
    after: Words = ()
    after_any: Words = ()
    after_fail: Words = ()
    matrix: dict[str, Annotated[tuple[Scalar, ...], Field(min_length=1)]] = {}
    exclude: tuple[dict[str, Scalar], ...] = ()
    send: Words = ()


class WorkflowText(_Said):
    """A whole file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] | None = None
    version: PositiveInt = 1  #: of this form of file
    defaults: Common = Common()
    tasks: Annotated[dict[Annotated[str, Field(pattern=NAME, max_length=63)], TaskText], Field(min_length=1)]
