"""What the page on workflows shows can be typed: its file is one, and so is the example that it names."""

from __future__ import annotations

import re
from pathlib import Path

from qme.cli.workflow import summary
from qme.client import Options
from qme.client.workflows import prepared, read, tree

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "c-project" / "flow.toml"


def test_the_pages_workflow_is_one(tmp_path: Path) -> None:
    """It is read without a complaint, and each of its tasks is one in the example as well."""
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "workflows.md").read_text(), re.DOTALL)
    (tmp_path / "flow.toml").write_text(block)
    shown, whole = read(tmp_path / "flow.toml"), read(EXAMPLE)
    assert {task.name for task in shown.tasks} <= {task.name for task in whole.tasks}
    assert len(prepared(shown, Options(), host="h")) == len(shown.tasks)


def test_the_example_is_as_large_as_said() -> None:
    """What `check` and `show` print of it."""
    flow = read(EXAMPLE)
    assert summary(flow) == "c-project: 20 tasks, at most 5 one after the other"
    assert tree(flow).splitlines()[0] == "compile (x6)"
