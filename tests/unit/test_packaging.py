"""What holds for the tree as a whole: versions, pins, types, and names that may stand in one place only."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "qme-core": ROOT / "shared/src/qme",
    "qme-submitter": ROOT / "services/submitter/src/qme_submitter",
    "qme-executor-shell": ROOT / "services/executor-shell/src/qme_executor_shell",
    "qme-executor-slurm": ROOT / "services/executor-slurm/src/qme_executor_slurm",
    "qme-dashboard": ROOT / "services/dashboard/src/qme_dashboard",
}
SUBJECTS = PACKAGES["qme-core"] / "contracts/subjects.py"

#: docker.io alone is the name of a Debian package
REGISTRY_HOST = re.compile(r"\b(pypi|pythonhosted|npmjs|debian|ghcr)\.(org|com|io)\b|\bdocker\.(com\b|io/)")


def tree() -> Iterator[tuple[Path, str]]:
    """Every text file that is, or could be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield path, content.decode()


def offences(pattern: re.Pattern[str]) -> list[str]:
    """Where the pattern occurs, as ``path:line``."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in tree()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def spelled(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module with their lines, docstrings left out."""
    module = ast.parse(path.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


@pytest.mark.parametrize("distribution", PACKAGES)
def test_every_distribution_has_the_one_version(distribution: str):
    """A distribution's version is what the VERSION file says."""
    assert version(distribution) == (ROOT / "VERSION").read_text().strip()


def test_the_package_says_its_version():
    """``qme.__version__`` is found on first use and agrees with VERSION."""
    import qme

    assert qme.__version__ == (ROOT / "VERSION").read_text().strip()


def test_importing_qme_imports_nothing_else():
    """``import qme`` stays free: every other import of the package runs it."""
    code = "import sys; before = set(sys.modules); import qme; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == ["qme"]


@pytest.mark.parametrize("distribution", PACKAGES)
def test_every_package_ships_its_types(distribution: str):
    """A package without py.typed would hide its annotations from those who use it."""
    assert (PACKAGES[distribution] / "py.typed").is_file()


def test_every_folder_of_code_is_a_package():
    """A folder without __init__.py would escape the import contracts unseen."""
    folders = {path.parent for package in PACKAGES.values() for path in package.rglob("*.py")}
    assert [
        str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()
    ] == []


def test_constraints_are_plain_pins():
    """constraints.txt holds name==version lines and no address, so any index can serve them."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


def test_no_file_names_a_registry():
    """Where packages come from is the machine's setting, not the project's."""
    assert offences(REGISTRY_HOST) == []


def test_no_file_names_a_path_of_this_machine():
    """A path that exists only where the tree was written does not work anywhere else."""
    assert offences(re.compile(rf"(?<![\w.}}/-]){re.escape(str(ROOT))}(/|\b)")) == []


@pytest.mark.parametrize("prefix", ["qme.tasks", "qme.api", "$KV."])
def test_a_subject_is_spelled_in_one_file(prefix: str):
    """Subjects are built and parsed in contracts/subjects.py; one spelled elsewhere would drift from it."""
    sources = [path for package in PACKAGES.values() for path in package.rglob("*.py") if path != SUBJECTS]
    assert [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources
        for line, text in spelled(path)
        if re.search(re.escape(prefix), text)
    ] == []
