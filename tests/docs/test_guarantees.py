"""docs/guarantees.md: every promise and every crash names tests, and every test that the page names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.chaos.report import PAGE, Report, write
from tests.chaos.run import Chaos
from tests.chaos.verdict import Verdict

ROOT = Path(__file__).parents[2]
TEST = re.compile(r"`((?:tests|services)/[\w./-]+\.py)::(test_\w+)`")
#: promises, and places where a process may die: the page may get more, never fewer
PROMISES, CRASHES = 6, 20


def promises() -> dict[str, str]:
    """The sections of the promises by their headings."""
    part = PAGE.read_text().partition("\n## The promises\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^### (\d\. [^\n]+)\n(.*?)(?=^### |\Z)", part, re.MULTILINE | re.DOTALL))


def crashes() -> list[str]:
    """The rows of the table of crashes."""
    part = PAGE.read_text().partition("\n## Crash by crash\n")[2].partition("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("|")][2:]


def functions(path: Path) -> set[str]:
    """The names of the tests in a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_that_is_named_exists() -> None:
    """No name is left over from a test that was renamed or removed, and none is written so that it is overlooked."""
    named = TEST.findall(PAGE.read_text())
    assert [f"{file}::{test}" for file, test in named if test not in functions(ROOT / file)] == []
    assert PAGE.read_text().count("::") == len(named)


def test_every_promise_and_every_crash_has_its_tests() -> None:
    """Whatever the page promises, something tries to break."""
    assert [
        number for number, (heading, _) in enumerate(promises().items(), 1) if heading[0] != str(number)
    ] == []
    assert len(promises()) >= PROMISES
    assert [heading for heading, text in promises().items() if not TEST.search(text)] == []
    assert len(crashes()) >= CRASHES
    assert [row for row in crashes() if not TEST.search(row.split("|")[3])] == []


def test_figures_come_from_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has a place for each kind of run, and writing a run's table there leaves all else as it was."""
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    monkeypatch.setattr("tests.chaos.report.PAGE", page)
    for nodes in (1, 3):
        before = page.read_text()
        verdict = Verdict(accepted=10_000 + nodes, lost=["it"])
        report = Report(
            Chaos(seed=7, tasks=10_000, seconds=720.0, nodes=nodes), 700.0, verdict, verdict.outcomes, []
        )
        write(report)
        write(report)
        head, _, tail = page.read_text().partition(report.markdown())
        assert f"| accepted (ids printed) | {10_000 + nodes} |" in report.markdown()
        assert "| lost | 1 |" in report.markdown()
        assert before.startswith(head)
        assert before.endswith(tail)
        assert tail
