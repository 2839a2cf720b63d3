"""A home, a site config and an environment of the test's own."""

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A QME_HOME that exists and is empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where the site's config is looked for; not there until a test writes it."""
    return tmp_path / "site"


@pytest.fixture
def env(home: Path, site: Path) -> dict[str, str]:
    """An environment in which nothing of the machine's own settings is seen."""
    return {"QME_HOME": str(home), "QME_SITE_CONFIG": str(site)}
