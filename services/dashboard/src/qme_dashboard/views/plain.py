"""The view of any executor that brings none: what its workers advertise, and what all tasks have."""

from __future__ import annotations

from typing import Any


def view(ui: Any, task: Any) -> None:
    """Lay the task out."""
    task.command()
    with ui.container(key="task-parts"):
        left, right = ui.columns([1, 3], gap="medium")
    data = task.record.data
    names = task.definition.fields if task.definition is not None else sorted(data)
    with left:
        task.facts({name: data.get(name) for name in names})
        task.timeline()
    with right:
        task.elements()
        task.output()
