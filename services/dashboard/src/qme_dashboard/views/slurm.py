"""The view of Slurm tasks: the job and how Slurm sees it on the left, the sbatch line and output on the right."""

from __future__ import annotations

from typing import Any

from qme_dashboard.words import plain


def view(ui: Any, task: Any) -> None:
    """Lay the task out."""
    data = task.record.data
    state = data.get("slurm_state")
    with ui.container(horizontal=True):
        if data.get("jobid"):
            ui.badge(f"job {plain(str(data['jobid']))}", icon=":material/tag:", color="blue")
        if state:
            ui.badge(plain(str(state)), icon=":material/dns:", color=_colour(str(state)))
        if data.get("restarts"):
            ui.badge(f"restarted {plain(str(data['restarts']))} times by Slurm", color="orange")
    task.command()
    left, right = ui.columns([1, 2], gap="large")
    with left:
        task.facts(
            {
                "Job": data.get("jobid"),
                "Cluster": data.get("cluster"),
                "Partition": data.get("partition"),
                "Nodes": data.get("nodes"),
                "Slurm's state": state,
                "Slurm's reason": data.get("slurm_reason"),
                "Began on the node": data.get("slurm_started"),
                "Exit code": data.get("returncode"),
                "Output file": data.get("outputfile"),
                "Error file": data.get("errorfile"),
                "Folder": data.get("workdir"),
            }
        )
        task.timeline()
    with right:
        _array(ui, data.get("array"))
        task.output()


def _array(ui: Any, array: Any) -> None:
    """Draw how the elements of an array stand: their numbers, and those that stand alike as one line."""
    if not isinstance(array, dict):
        return
    counts = {
        name: number for name, number in array.items() if isinstance(number, int) and name != "left_out"
    }
    with ui.container(horizontal=True):
        for name, number in counts.items():
            ui.metric(plain(name), number, border=True, width=110)
    groups = array.get("groups")
    rows = [group for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []
    if rows:
        ui.dataframe(rows, hide_index=True, height="content" if len(rows) < 8 else 260)
    if array.get("left_out"):
        ui.caption(f"{plain(str(array['left_out']))} more elements have no room in the record.")
    ui.caption("Each element has output of its own: the action output with element=N shows it.")


def _colour(state: str) -> str:
    if state == "COMPLETED":
        return "green"
    if state in ("RUNNING", "COMPLETING"):
        return "yellow"
    return "blue" if state in ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED") else "red"
