"""What an executor's author imports: everything public is named here.

    from qme.executor import Executor, Result, action

Names are imported when asked for: the keeper's and the local stack's supervisors use modules of this package too, and
would carry pydantic along for nothing (14 MB each).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qme.executor.base import Check, CommandLost, Executor, Held, Result, Task, action, actions_of
    from qme.executor.capacity import Supply, of_host
    from qme.executor.processes import Captured, capture
    from qme.executor.words import plain_words
    from qme.settings import ExecutorSettings, option, optional

_HOMES = {
    "qme.executor.base": (
        "Check",
        "CommandLost",
        "Executor",
        "Held",
        "Result",
        "Task",
        "action",
        "actions_of",
    ),
    "qme.executor.capacity": ("Supply", "of_host"),
    "qme.executor.processes": ("Captured", "capture"),
    "qme.executor.words": ("plain_words",),
    "qme.settings": ("ExecutorSettings", "option", "optional"),
}

__all__ = [
    "Captured",
    "Check",
    "CommandLost",
    "Executor",
    "ExecutorSettings",
    "Held",
    "Result",
    "Supply",
    "Task",
    "action",
    "actions_of",
    "capture",
    "of_host",
    "option",
    "optional",
    "plain_words",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
