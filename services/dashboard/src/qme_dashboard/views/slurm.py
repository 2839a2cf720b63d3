"""The view of Slurm tasks: the job and how Slurm sees it on the left, the sbatch line and output on the right."""

from __future__ import annotations

from typing import Any

from qme_dashboard.words import plain


def view(ui: Any, task: Any) -> None:
    """Lay the task out."""
    data = task.record.data
    state, reason = data.get("slurm_state"), data.get("slurm_reason")
    with ui.container(horizontal=True, gap="small"):
        if data.get("jobid"):
            ui.badge(f"job {plain(str(data['jobid']))}", icon=":material/tag:", color="blue")
        if state:
            ui.badge(plain(str(state)), icon=":material/dns:", color=_colour(str(state)))
        if reason and not task.record.ended:
            ui.badge(plain(str(reason)), color="gray")
        if data.get("restarts"):
            ui.badge(f"restarted {plain(str(data['restarts']))} times by Slurm", color="orange")
    task.command()
    with ui.container(key="task-parts"):
        left, right = ui.columns([1, 3], gap="medium")
    with left:
        task.facts(
            {
                "Cluster": data.get("cluster"),
                "Partition": data.get("partition"),
                "Nodes": data.get("nodes"),
                "Reason": reason,
                "Exit code": data.get("returncode"),
                "Output file": data.get("outputfile"),
                "Error file": None
                if data.get("errorfile") == data.get("outputfile")
                else data.get("errorfile"),
                "Folder": data.get("workdir") or data.get("pwd"),
                "Script": data.get("script"),
                "Fault": data.get("fault"),
            }
        )
        task.timeline()
    with right:
        task.elements()
        if not _numbered(data.get("array")):
            task.output()


def _numbered(array: Any) -> bool:
    """Tell whether it has elements with output files of their own: then the task itself has none."""
    groups = array.get("groups") if isinstance(array, dict) else None
    first = groups[0] if isinstance(groups, list) and groups else None
    return isinstance(first, dict) and str(first.get("elements", ""))[:1].isdecimal()


def _colour(state: str) -> str:
    if state == "COMPLETED":
        return "green"
    if state in ("RUNNING", "COMPLETING"):
        return "yellow"
    return "blue" if state in ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED") else "red"
