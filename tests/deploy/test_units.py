"""The judgement of systemd itself on the shipped units, offline: none is running where tests run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.deploy.units import HERE, INSTALLED, Unit, shipped

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)

#: systemd's exposure, in tenths: 0 is perfect, 96 a unit without any hardening
EXPOSURE = 15
SYSTEM = [path for path in shipped() if path.parent.name == "system"]


def named(path: Path) -> str:
    """Give the name of a test of this file."""
    return path.name


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze."""
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )


def installed(path: Path, folder: Path) -> Path:
    """Give a copy of a unit that names the programs where they are on this machine, else it is found invalid."""
    copy = folder / path.name
    copy.write_text(path.read_text().replace(INSTALLED, HERE))
    return copy


@pytest.mark.parametrize("path", shipped(), ids=named)
def test_systemd_has_nothing_to_say_about_a_unit(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key, value and section is known, and what it starts is there. A word on stderr is a fault, too."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # a user's manager has one
    scope = ["--user"] if path.parent.name == "user" else []
    done = analyze(*scope, "verify", str(installed(path, tmp_path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("path", SYSTEM, ids=named)
def test_a_service_of_the_system_is_hardened(path: Path) -> None:
    """The score that systemd gives to what a captured service could still reach."""
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(path))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_services_of_the_system_are_hardened_alike() -> None:
    """One block, the same in each file: who changes one, changes all."""
    mark = "# What the programs don't need is taken from them."
    blocks = {path.read_text().partition(mark)[2] for path in SYSTEM}
    assert len(blocks) == 1
    assert len(blocks.pop()) > 500


@pytest.mark.parametrize("path", shipped(), ids=named)
def test_a_service_comes_back_however_often_it_ends(path: Path) -> None:
    """After a pause, and for ever: a bus or a home that is away for an hour gives nobody up."""
    unit = Unit(path, {"i": "x", "h": "/h", "S": "/s"})
    assert (unit.one("Restart"), unit.one("StartLimitIntervalSec")) == ("always", "0")
    assert int(unit.one("RestartSec")) >= 5
