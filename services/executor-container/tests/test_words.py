"""Command lines of container engines."""

from __future__ import annotations

import re

import pytest

from qme.errors import InvalidRequest
from qme_executor_container import ContainerExecutor, words

MARK = "u.1"
OURS = "--label qme.task=u.1 --name qme-u.1"


@pytest.mark.parametrize(
    ("line", "expected", "image", "remove"),
    [
        ("docker run busybox true", f"docker run {OURS} busybox true", "busybox", False),
        ("docker run --rm busybox", f"docker run {OURS} busybox", "busybox", True),
        ("docker run --rm=false b", f"docker run {OURS} b", "b", False),
        ("/x/podman run -v /a:/b -it i --rm", f"/x/podman run {OURS} -v /a:/b -it i --rm", "i", False),
        (
            "docker run -p80:80 --env=A=b -e C i x",
            f"docker run {OURS} -p80:80 --env=A=b -e C i x",
            "i",
            False,
        ),
        ("docker run --name n i", "docker run --label qme.task=u.1 --name n i", "i", False),
        ("docker run --init -m 1g -- i a", f"docker run {OURS} --init -m 1g -- i a", "i", False),
        ("apptainer exec my.sif python x.py", "apptainer exec my.sif python x.py", "my.sif", False),
    ],
)
def test_a_line_is_completed(line: str, expected: str, image: str, remove: bool) -> None:
    """Name and label are added, --rm is taken out, whatever belongs to the command inside is left alone."""
    run = words.read(line.split(), MARK)
    assert (run.argv, run.image, run.remove) == (tuple(expected.split()), image, remove)


@pytest.mark.parametrize(
    "line", ["docker run -d img", "docker run -itd img", "docker run --detach img", "docker run"]
)
def test_what_would_end_unseen_is_refused(line: str) -> None:
    """So is a line without an image."""
    with pytest.raises(InvalidRequest):
        words.read(line.split(), MARK)


def test_a_flag_of_the_command_inside_is_its_own() -> None:
    """-d after the image is no --detach."""
    assert words.read(["docker", "run", "img", "prog", "-d", "--rm"], MARK).argv[-3:] == (
        "prog",
        "-d",
        "--rm",
    )


@pytest.mark.parametrize(
    ("line", "takes"),
    [
        ("docker run img", True),
        ("/opt/podman run img", True),
        ("singularity exec a.sif x", True),
        ("docker ps", False),
        ("echo docker run img", False),
        ("dockerx run img", False),
        ("docker runx", False),
    ],
)
def test_what_it_takes(line: str, takes: bool) -> None:
    """Commands that run one container, and no others."""
    assert bool(re.search(ContainerExecutor.matchstring, line)) is takes
