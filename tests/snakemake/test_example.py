"""The example workflow, by a real Snakemake, on a local stack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNAKEMAKE = ROOT / ".venv-snakemake/bin"

#: as the example's README has it, and not waiting long between two looks
SNAKE = ("snakemake", "--profile", "profile", "--seconds-between-status-checks", "1")

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(300)]


class Workflow:
    """A copy of the example, in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QME_", "NATS_", "SNAKEMAKE_"))}
        beside = [str(Path(sys.executable).parent), str(SNAKEMAKE), os.environ["PATH"]]
        self._env = kept | {"HOME": str(folder), "PATH": os.pathsep.join(beside)}

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it."""
        return subprocess.run(
            argv, cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=200, check=False
        )


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    """The example with its texts."""
    if not (SNAKEMAKE / "snakemake").exists():
        pytest.skip("Snakemake is missing; `make test-snakemake` installs it")
    folder = tmp_path / "example"
    shutil.copytree(ROOT / "examples/snakemake", folder)
    (folder / "texts").mkdir()
    for text in ("ash", "birch", "cedar"):
        (folder / f"texts/{text}.txt").write_text(f"the {text} tree\n")
    made = Workflow(folder)
    yield made
    made.run("qme", "down", "--cancel")


def test_each_job_is_a_task(workflow: Workflow) -> None:
    """The report is made by one task for each job; they carry their rule's name."""
    done = workflow.run(*SNAKE)
    assert done.returncode == 0, done.stderr
    assert (workflow.folder / "report.txt").read_text().split() == ["ash", "3", "birch", "3", "cedar", "3"]
    tasks = workflow.run("qme", "ls", "--label", "snakemake=count").stdout.splitlines()
    assert [line.split("\t")[2] for line in tasks] == ["success"] * 3


def test_a_job_that_fails_fails_the_run(workflow: Workflow) -> None:
    """Snakemake learns of it through the status command, and makes nothing of what needs it."""
    snakefile = workflow.folder / "Snakefile"
    snakefile.write_text(
        snakefile.read_text().replace('"echo {wildcards.text}', '"test {wildcards.text} != birch; echo')
    )
    done = workflow.run(*SNAKE, "--keep-going")
    assert done.returncode != 0
    assert not (workflow.folder / "report.txt").exists()
    assert (workflow.folder / "counts/ash.txt").exists()
    outcomes = sorted(line.split("\t")[2] for line in workflow.run("qme", "ls").stdout.splitlines())
    assert outcomes == ["failed", "success", "success"]
