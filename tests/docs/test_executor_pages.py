"""The page of an executor names all that there is to set, to call and to read."""

from __future__ import annotations

from pathlib import Path

from qme.executor import actions_of
from qme.settings import options
from qme_executor_slurm import SlurmExecutor, SlurmSettings

PAGE = (Path(__file__).parents[2] / "docs/executors/slurm.md").read_text()


def test_every_setting_stands_on_the_page():
    """With its name as people write it."""
    assert [key for key in options(SlurmSettings) if f"`{key}`" not in PAGE] == []


def test_every_action_stands_on_the_page():
    """And those that change something are marked."""
    missing = [
        action.name
        for action in actions_of(SlurmExecutor)
        if f"`{action.name}`" + ("*" if action.changes else "") not in PAGE
    ]
    assert missing == []


def test_name_matchstring_and_fields_stand_on_the_page():
    """As the executor itself has them."""
    assert PAGE.startswith(f"# The executor `{SlurmExecutor.name}`\n")
    assert f"`{SlurmExecutor.matchstring}`" in PAGE
    assert [field for field in SlurmExecutor.fields if f"`{field}`" not in PAGE] == []
