"""The documentation as a site: it can be built without a warning, and reads the same without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qme.cli.verbs import VERBS
from qme.settings import Settings, options

ROOT = Path(__file__).parents[2]
#: what a browser would fetch by itself
FETCHED = re.compile(r"""(?:src|<link[^>]+href)=["']?(https?:)?//|url\(["']?https?:|@import""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a dead link, anchor or menu entry ends the build."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stdout) == (0, ""), built.stderr
    return folder


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """No page, style or script has a browser fetch anything from another host."""
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".js")]
    assert len(files) > 40
    html_and_css = [path for path in files if path.suffix != ".js"]
    assert [path for path in html_and_css if FETCHED.search(path.read_text())] == []


def test_reference_is_what_the_code_has(site: Path) -> None:
    """Each verb and each setting is there."""
    commands = (site / "reference/commands.html").read_text()
    assert [verb for verb in VERBS if f">qme {verb}<" not in commands] == []
    settings = (site / "reference/settings.html").read_text()
    assert [key for key in options(Settings) if f"QME_{key.upper()}<" not in settings] == []


def test_every_page_is_in_the_menu(site: Path) -> None:
    """A page that nobody can reach from the menu is not read."""
    menu = (site / "index.html").read_text()
    pages = [path.relative_to(site).as_posix() for path in site.rglob("*.html")]
    assert [page for page in pages if f'href="{page}"' not in menu] == ["404.html"]
