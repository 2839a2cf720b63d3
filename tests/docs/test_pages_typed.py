"""Pages whose commands can be typed from the top, in an empty home, print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.console import Shell, Typed, agrees, steps

ROOT = Path(__file__).parents[2]
PAGES = ["docs/quickstart.md", "docs/tutorial.md"]

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page: str, tmp_path: Path) -> None:
    """Each command prints what stands below it."""
    # What the page installs goes into a folder of its own, and leaves no trace in this environment.
    site = str(tmp_path / "site")
    shell = Shell(tmp_path, PIP_TARGET=site, PIP_NO_DEPS="1", PYTHONPATH=site)
    try:
        for step in steps(ROOT / page):
            if isinstance(step, Typed):
                printed = shell.type(step.command)
                assert agrees(step.shown, printed), f"$ {step.command}\n" + "\n".join(printed)
            else:
                shell.write(step.path, step.text)
    finally:
        shell.type("kill $(jobs -p) 2> /dev/null; wait; qme down --cancel")
        shell.close()


def test_the_comparison_can_fail() -> None:
    """`…` stands for part of a line or for lines, everything else for itself."""
    assert agrees(("a … c", "…"), ["a b c", "d", "e"])
    assert not agrees(("a",), ["a", "b"])
    assert not agrees(("a.c",), ["abc"])
    assert not agrees((), ["a"])
