"""What an executor's author imports: everything public is named here.

from qme.executor import Executor, Result, action
"""

from qme.executor.base import Executor, Held, Result, Task, action, actions_of
from qme.executor.processes import Captured, capture
from qme.settings import ExecutorSettings, option, optional

__all__ = [
    "Captured",
    "Executor",
    "ExecutorSettings",
    "Held",
    "Result",
    "Task",
    "action",
    "actions_of",
    "capture",
    "option",
    "optional",
]
