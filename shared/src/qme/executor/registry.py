"""Find executors by entry point (group ``qme.executors``). Listing imports none of them; only `load` does."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from qme.contracts.subjects import executor_name
from qme.errors import NotFound, QmeError
from qme.executor.base import Executor

GROUP = "qme.executors"


class ExecutorBroken(QmeError):
    """The executor's package can't be used; reinstall it or ask its author."""


def names() -> tuple[str, ...]:
    """List the installed executors without importing any."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def load(name: str) -> type[Executor[Any]]:
    """Import an executor. Raises NotFound (naming those installed) or ExecutorBroken (saying what its package did)."""
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise NotFound(f"no executor {name!r} is installed here; there are: {', '.join(names()) or 'none'}")
    try:
        found = points[0].load()
    except Exception as error:
        raise ExecutorBroken(f"executor {name!r} ({points[0].value}) can't be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise ExecutorBroken(
            f"executor {name!r}: {points[0].value} is not a subclass of qme.executor.Executor"
        )
    if executor_name(found.name) != name:
        raise ExecutorBroken(f"executor {name!r} calls itself {found.name!r}; both must be the same")
    return found
