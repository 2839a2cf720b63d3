"""How a task of one executor is shown. An executor's own package may bring a view by an entry point.

    [project.entry-points."qme.views"]
    loud = "qme_executor_loud.view:view"

    def view(ui, task):                      # ui is Streamlit; the package need not depend on it
        task.command()
        task.facts({"Volume": task.record.data.get("volume")})
        task.output()

A view only lays out what `TaskPage` offers; it needs no bus and no rights. Without one, `plain` shows the fields
that the executor's workers advertise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

from qme.contracts.executors import Definition
from qme.contracts.tasks import TaskRecord
from qme.observe.logging import get_logger
from qme_dashboard.views import plain

GROUP = "qme.views"

log = get_logger(__name__)


class TaskPage(Protocol):
    """What a view is handed: the task, and its parts, each drawn where it is called."""

    record: TaskRecord
    definition: Definition | None  #: as its workers advertise it; None when it was forgotten

    def command(self) -> None:
        """Draw the command."""

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Draw names and values; what is None is left out. Then come the task's own: user, host, times, labels."""

    def output(self) -> None:
        """Draw stdout and stderr side by side, with a search."""

    def elements(self) -> None:
        """Draw how the elements of an array stand (``data.array``), and what one of them wrote; nothing without any."""

    def timeline(self) -> None:
        """Draw waits and attempts, and a scheduler's states (``data.states``: a list of state, at, reason)."""

    def note(self, text: str) -> None:
        """Draw a sentence that may hold anything."""


View = Callable[[Any, TaskPage], None]


@cache
def view_of(executor: str) -> View:
    """Give the view of an executor's tasks; one that can't be imported is logged, and the plain one shown."""
    for point in entry_points(group=GROUP):
        if point.name == executor:
            try:
                found: View = point.load()
            except Exception:
                log.exception("dashboard.view_broken", executor=executor, view=point.value)
            else:
                return found
    return plain.view
