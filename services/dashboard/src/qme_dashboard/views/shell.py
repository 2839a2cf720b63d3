"""The view of shell tasks: the command first, what it used on the left, what it wrote on the right."""

from __future__ import annotations

from typing import Any

from qme_dashboard.words import size, span


def view(ui: Any, task: Any) -> None:
    """Lay the task out."""
    data = task.record.data
    task.command()
    with ui.container(key="task-parts"):
        left, right = ui.columns([1, 3], gap="medium")
    with left:
        task.facts(
            {
                "Folder": data.get("pwd") or task.record.cwd,
                "Exit code": data.get("returncode"),
                "Process": data.get("pid"),
                "CPU": _cpu(data.get("utime"), data.get("stime")),
                "Most memory": size(data.get("maxrss_kb"), 1024),
            }
        )
        task.timeline()
    with right:
        task.output()


def _cpu(user: Any, system: Any) -> str | None:
    if not isinstance(user, (int, float)) or not isinstance(system, (int, float)):
        return None
    return f"{span(user)} user, {span(system)} system"
