"""The views of tasks: what they put on a page, with data of every kind and none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from qme.contracts.executors import Definition
from qme.contracts.tasks import TaskRecord
from qme_dashboard import views
from qme_dashboard.views import plain, shell, slurm

from .tasks import entry


class Ui:
    """Notes what is drawn; anything may be called on it, and be entered."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def draw(*args: Any, **_: Any) -> Any:
            self.drawn.append((name, args))
            return (self, self) if name == "columns" else self

        return draw

    def __enter__(self) -> Ui:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""


class Page:
    """Notes which parts of a task a view asks for."""

    def __init__(self, record: TaskRecord, definition: Definition | None = None) -> None:
        self.record, self.definition = record, definition
        self.told: dict[str, Any] = {}
        self.parts: list[str] = []

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Note them."""
        self.told = {name: value for name, value in facts.items() if value is not None}
        self.parts.append("facts")

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.parts.append(name)


def page(executor: str, data: dict[str, Any], definition: Definition | None = None) -> Page:
    """A task's page."""
    return Page(entry(1, executor=executor, data=data).value, definition)


def test_shell_shows_the_command_first() -> None:
    """Then what it used, then what it wrote."""
    shown = page(
        "shell", {"pwd": "/data", "returncode": 3, "maxrss_kb": 2048, "utime": 1.5, "stime": 0.1, "pid": 7}
    )
    shell.view(Ui(), shown)
    assert shown.parts == ["command", "facts", "timeline", "output"]
    assert shown.told == {
        "Folder": "/data", "Exit code": 3, "Process": 7, "CPU": "1.5 s user, 0.1 s system", "Most memory": "2.0 MiB",
    }  # fmt: skip


FAILED = {"elements": "3", "state": "FAILED", "outcome": "failed", "returncode": 1, "node": "c1"}


def test_slurm_shows_job_state_and_the_elements_that_failed() -> None:
    """Job, Slurm's own words and the counts of an array."""
    array = {"total": 3, "success": 2, "failed": 1, "groups": [FAILED]}
    data = {"jobid": "12", "slurm_state": "FAILED", "slurm_reason": "NonZeroExitCode", "partition": "normal"}
    shown, ui = page("slurm", {**data, "nodes": "c1", "array": array, "restarts": 2}), Ui()
    slurm.view(ui, shown)
    assert shown.told == {"Partition": "normal", "Nodes": "c1", "Reason": "NonZeroExitCode"}
    assert [args[0] for name, args in ui.drawn if name == "badge"] == [
        "job 12", "FAILED", "NonZeroExitCode", "restarted 2 times by Slurm",
    ]  # fmt: skip
    assert shown.parts == ["command", "facts", "timeline", "elements"]


def test_what_one_file_holds_is_shown_once() -> None:
    """A plain job, and a heterogeneous one, have output of their own; an array's elements have theirs."""
    for array, shows in (
        (None, True),
        ({"groups": [{"elements": "+0,+1"}]}, True),
        ({"groups": [FAILED]}, False),
    ):
        shown = page("slurm", {"jobid": "12", "array": array})
        slurm.view(Ui(), shown)
        assert ("output" in shown.parts) == shows


def test_what_a_worker_exports_is_never_read_as_markdown() -> None:
    """Signs and numbers are read as Markdown by Streamlit: what stands in them is a worker's text."""
    hostile = "[x](http://evil.example)"
    told = {"jobid": hostile, "slurm_state": hostile, "restarts": hostile}
    ui = Ui()
    slurm.view(ui, page("slurm", {**told, "array": {hostile: 1, "left_out": hostile}}))
    marked = [str(args[0]) for name, args in ui.drawn if name in ("badge", "metric", "caption")]
    assert len([text for text in marked if "evil" in text]) == 3
    assert not [text for text in marked if hostile in text]


@pytest.mark.parametrize("view", [shell.view, slurm.view, plain.view])
@pytest.mark.parametrize(
    "data", [{}, {"array": "x", "utime": "y", "jobid": [], "slurm_state": 7, "restarts": "z"}]
)
def test_odd_data_breaks_no_view(view: views.View, data: dict[str, Any]) -> None:
    """An executor may export anything, or nothing yet."""
    shown = page("slurm", data)
    view(Ui(), shown)
    assert {"command", "output", "timeline"} <= set(shown.parts)


def test_a_strangers_task_shows_the_fields_that_its_workers_advertise() -> None:
    """In their order; without an advert, all there is."""
    definition = Definition(
        executor="loud", pool="u-ann", matchstring="^loud", account="ann", fields=("volume", "pitch"),
        updated=entry(1).value.created,
    )  # fmt: skip
    shown = page("loud", {"pitch": 2, "volume": 11, "other": 1}, definition)
    views.view_of("loud")(Ui(), shown)
    assert list(shown.told.items()) == [("volume", 11), ("pitch", 2)]
    forgotten = page("loud", {"b": 1, "a": 2})
    views.view_of("loud")(Ui(), forgotten)
    assert forgotten.told == {"a": 2, "b": 1}


def test_views_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours come as a stranger's would; one that can't be imported gives way to the plain one."""
    assert (views.view_of("shell"), views.view_of("slurm")) == (shell.view, slurm.view)

    class Broken:
        name, value = "broken", "gone:view"

        def load(self) -> None:
            raise ImportError("gone")

    monkeypatch.setattr(views, "entry_points", lambda group: [Broken()])
    views.view_of.cache_clear()
    assert views.view_of("broken") is plain.view
    views.view_of.cache_clear()
