"""Scripts that only the submitting host has: client and worker have mount namespaces of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster

#: shown with the job's output: which script ran, where it stood, and what it was given
SCRIPT = '#!/bin/sh\n#SBATCH -J travelled -o %x.txt\necho mine "$1"; pwd\n'


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"platform: no mount namespaces here: {done.stderr.decode().strip()}")


def from_elsewhere(qme: Stack, place: Path, folder: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a qme command in a folder below `place` that only its own process can see, with a job.sh in it."""
    setting = (
        'mount -t tmpfs none "$1"; mkdir -p "$1/$2"; cd "$1/$2"; printf %s "$3" >job.sh; shift 3; exec "$@"'
    )
    return subprocess.run(
        ["unshare", "-m", "sh", "-ec", setting, "sh", str(place), folder, SCRIPT, *qme.command(*words)],
        env=qme.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_neither_folder_nor_script_on_the_worker(qme: Stack, slurm: Cluster, tmp_path: Path) -> None:
    """The headline example: the script comes along, runs in a folder of the task's own, and its output with it."""
    done = from_elsewhere(qme, tmp_path, "project", "run", "sbatch", "-p", "main", "job.sh", "x y")
    assert done.returncode == 0, done.stderr
    said, where = done.stdout.decode().splitlines()
    record = qme.record("last")
    assert (said, where) == ("mine x y", record["data"]["pwd"])
    assert where.startswith(str(qme.home))
    assert Path(record["data"]["outputfile"]) == Path(where, "travelled.txt")
    assert list(record["files"]) == ["job.sh"]
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("word", ["job.sh", "./job.sh", "{place}/job.sh"])
def test_another_script_of_that_name_on_the_worker(
    qme: Stack, slurm: Cluster, tmp_path: Path, word: str
) -> None:
    """What was submitted runs, in the folder it was submitted from; what lies there stays as it is."""
    theirs = tmp_path / "job.sh"
    theirs.write_text("#!/bin/sh\necho an old one\n")
    done = from_elsewhere(qme, tmp_path, ".", "run", "sbatch", word.format(place=tmp_path), "again")
    assert (done.returncode, done.stdout.decode()) == (0, f"mine again\n{tmp_path}\n"), done.stderr
    assert theirs.read_text() == "#!/bin/sh\necho an old one\n"
    assert (tmp_path / "travelled.txt").exists()


def test_the_same_script_on_the_worker(qme: Stack, slurm: Cluster, tmp_path: Path) -> None:
    """It is used where it lies; the command may be one word."""
    (tmp_path / "job.sh").write_text(SCRIPT)
    done = from_elsewhere(qme, tmp_path, ".", "run", "sbatch -t 5 job.sh 'a b'")
    assert (done.returncode, done.stdout.decode()) == (0, f"mine a b\n{tmp_path}\n"), done.stderr
    assert qme.record("last")["data"]["script"] == str(tmp_path / "job.sh")


def test_no_other_executor_is_sent_a_script(qme: Stack, tmp_path: Path) -> None:
    """An sbatch that the shell is told to run brings nothing along."""
    words = ["run", "--executor", "shell", "sbatch", "--version", "job.sh"]
    done = from_elsewhere(qme, tmp_path, "project", *words)
    assert done.returncode == 0, done.stderr
    assert qme.record("last")["files"] == {}
