"""The container executor on a real engine: what every executor is asked, and that no container outlives its task."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qme.conformance.stage import Stage
from qme.contracts.tasks import Outcome, TaskRecord
from qme.executor import Held
from qme.testing.suite import ExecutorSuite
from qme_executor_container import ContainerExecutor, ContainerSettings

ROOT = Path(__file__).parents[2]
IMAGE = "qme-test-busybox"
RUN = f"docker run --rm --network none {IMAGE}"
SETTINGS = ContainerSettings(stop_grace=1.0)
PATIENCE = 60.0


def docker(*argv: str) -> str:
    """Ask the engine."""
    return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module", autouse=True)
def image(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An image with a shell, from what is installed here."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is missing (apt: busybox-static)")
    folder = tmp_path_factory.mktemp("image")
    shutil.copy(busybox, folder / "busybox")
    links = " ".join(f"/bin/{name}" for name in ("true", "false", "sleep", "echo", "tail"))
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
        f"RUN for link in {links}; do /bin/busybox ln -s /bin/busybox $link; done\n"
    )
    docker("build", "--network", "none", "-t", IMAGE, str(folder))
    yield
    docker("image", "rm", "--force", IMAGE)


class TestContainer(ExecutorSuite):
    """With real containers."""

    executor = ContainerExecutor
    settings = SETTINGS
    succeed = (f"{RUN} echo hello", f"{RUN} true")
    fail = (f"{RUN} false", "docker run --network none no-such-image:none true", "docker run --detach x")
    stay = (f"{RUN} sleep 600",)
    leaves = ("docker ps", f"echo {RUN}")
    readme = ROOT / "services/executor-container/README.md"


def run(home: Path, line: str, **spec: Any) -> TaskRecord:
    """Run one command line to its end."""

    async def play() -> TaskRecord:
        executor = ContainerExecutor(SETTINGS)
        async with Stage("container", home) as stage, stage.worker(executor):
            key = await stage.submit((line,), **spec)
            return await stage.record(key, lambda record: record.ended, PATIENCE)

    return asyncio.run(play())


def test_the_exit_code_is_the_containers(tmp_path: Path) -> None:
    """And nothing of a container that was to be removed is left."""
    record = run(tmp_path, f"{RUN} sh -c 'exit 7'")
    assert (record.outcome, record.data["returncode"]) == (Outcome.FAILED, 7)
    assert record.data["image"] == IMAGE
    assert docker("ps", "--all", "--quiet") == ""


def test_a_container_ends_with_its_time_limit(tmp_path: Path) -> None:
    """Even one that ignores TERM, whose client is killed before it."""
    record = run(tmp_path, f"{RUN} sh -c 'trap : TERM; while :; do sleep 1; done'", timeout=1.0)
    assert record.outcome is Outcome.TIMEOUT
    assert docker("ps", "--all", "--quiet") == ""


def test_memory_that_was_not_granted(tmp_path: Path) -> None:
    """The kernel's end of it is out_of_memory, not a plain failure."""
    if docker("info", "--format", "{{.MemoryLimit}}").strip() != "true":
        pytest.skip("platform: this kernel limits no container's memory")
    record = run(tmp_path, f"docker run --rm --network none --memory 16m {IMAGE} tail /dev/zero")
    assert record.outcome is Outcome.OUT_OF_MEMORY, record
    assert record.data["returncode"] == 137


async def look(record: TaskRecord) -> Any:
    """What the action `inspect` gives."""
    return await ContainerExecutor(SETTINGS).inspect(Held(record, None, None))


def test_a_container_can_be_looked_at(tmp_path: Path) -> None:
    """As long as it is there: this one was not to be removed."""
    record = run(tmp_path, f"docker run --network none {IMAGE} true")
    try:
        shown = asyncio.run(look(record))
        assert shown["Config"]["Labels"] == {"qme.task": f"{record.uuid}.1"}
        assert json.loads(docker("container", "inspect", record.data["container"]))[0]["Id"] == shown["Id"]
    finally:
        docker("rm", "--force", record.data["container"])
