"""Pages whose commands can be typed from the top, in an empty home, print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.console import Shell, agrees, typed

ROOT = Path(__file__).parents[2]
PAGES = ["docs/quickstart.md"]

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_typed(page: str, tmp_path: Path) -> None:
    """Each command prints what stands below it."""
    shell = Shell(tmp_path)
    try:
        for command, shown in ((one.command, one.shown) for one in typed(ROOT / page)):
            printed = shell.type(command)
            assert agrees(shown, printed), f"$ {command}\n" + "\n".join(printed)
    finally:
        shell.type("qme down --cancel")
        shell.close()


def test_the_comparison_can_fail() -> None:
    """`…` stands for part of a line or for lines, everything else for itself."""
    assert agrees(("a … c", "…"), ["a b c", "d", "e"])
    assert not agrees(("a",), ["a", "b"])
    assert not agrees(("a.c",), ["abc"])
    assert not agrees((), ["a"])
