"""Structured logs on stderr: lines for people on a terminal, JSON for services. No settings are read here.

Events have dotted names and facts as keywords: ``log.info("task.started", attempt=1)``. What the standard
library's `logging` is given (by libraries, and by our own modules that must load without structlog) comes
out the same way.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from qme import redact

#: all but tab and line ends: what could move the cursor or recolour a terminal
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Handler(logging.StreamHandler[TextIO]):
    """Our handler on the root logger; a class of its own, so that a second `configure` replaces it."""


def configure(level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Send all logs of this process to ``stream`` (stderr when not given). May be called again.

    ``level`` and ``style`` are `Settings.log_level` and `Settings.log_format`; ``auto`` is ``console`` on a
    terminal, else ``json``. Colours need a terminal and no NO_COLOR.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    console = style == "console" or (style == "auto" and terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = [_printable, _console(terminal)] if console else [_json()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Cached loggers would keep the level they first had.
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact,
                *render,
            ],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def get_logger(name: str) -> FilteringBoundLogger:
    """Give the logger of a module; ``name`` is its ``__name__``."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def bind_task(uid: str) -> AbstractContextManager[None]:
    """Name the task in every line that this coroutine, and those it starts, log inside the ``with``."""
    return structlog.contextvars.bound_contextvars(task=uid)


def _console(terminal: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=terminal and not os.environ.get("NO_COLOR"),
        # Not the default one, which prints local variables, and with them secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )


def _json() -> structlog.processors.JSONRenderer:
    return structlog.processors.JSONRenderer(sort_keys=False)


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide secrets, and leave only what JSON can say."""
    return {str(key): _plain(str(key), value) for key, value in event.items()}


def _plain(key: str, value: Any) -> Any:
    if value is not None and not isinstance(value, bool) and redact.is_secret(key):
        return redact.HIDDEN
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no NaN
        case str():
            return redact.text(value)
        case Mapping():
            return {str(name): _plain(str(name), inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            items: Iterable[Any] = value
            return [_plain("", inner) for inner in items]
        case BaseException():
            return redact.text(repr(value))  # the class is half of the news
        case _:
            return redact.text(str(value))


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Spell control characters out: text from tasks must not steer the reader's terminal."""
    return {
        key: _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value
        for key, value in event.items()
    }
