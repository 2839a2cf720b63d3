"""The rule on skipped tests (conftest.py at the root): a gap on a laptop, a failure in CI."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = {
    "a test": "import pytest\ndef test_it(): pytest.skip('no compiler')\n",
    "a mark": "import pytest\n@pytest.mark.skipif(True, reason='no compiler')\ndef test_it(): ...\n",
    "a file": "import pytest\npytest.importorskip('no_such_module')\n",
}
ELSEWHERE = "import pytest\ndef test_it(): pytest.skip('platform: needs /proc')\n"


def outcome(folder: Path, test: str, **environ: str) -> int:
    """The exit code of pytest on this one test file, under the root's conftest.py."""
    shutil.copy(Path(__file__).parents[2] / "conftest.py", folder)
    (folder / "test_it.py").write_text(test)
    (folder / "test_beside_it.py").write_text("def test_beside_it(): ...\n")
    bare = {name: value for name, value in os.environ.items() if name != "CI"}
    bare["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "--rootdir",
            folder,
            folder,
        ],
        env=bare | environ,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


@pytest.mark.parametrize("what", SKIPS)
def test_a_missing_part_fails_in_ci_only(what: str, tmp_path: Path):
    """What skips on a developer's machine fails where CI is set."""
    assert outcome(tmp_path, SKIPS[what]) == 0
    assert outcome(tmp_path, SKIPS[what], CI="true") != 0


def test_what_cannot_run_on_this_platform_stays_a_skip(tmp_path: Path):
    """A reason that begins with ``platform:`` is accepted in CI too."""
    assert outcome(tmp_path, ELSEWHERE, CI="true") == 0
