"""The documents point at what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path):
    """A relative link in a document names a file or folder of the tree, or what the site makes of the code."""
    targets = {target: (document.parent / target).resolve() for target in LINK.findall(document.read_text())}
    generated = ROOT / "docs/reference"
    assert [one for one, path in targets.items() if not path.exists() and path.parent != generated] == []
