"""What following jobs costs Slurm: the real worker's calls of its programs are counted, for no job, one, and many."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.nats_server import NatsServer
from tests.slurm.workers import Workers
from tests.unit.worker.lab import until

from qme.contracts.subjects import TaskKey

pytestmark = [
    pytest.mark.nats,
    pytest.mark.timeout(180),
    pytest.mark.skipif(NatsServer.program() is None, reason="there is no nats-server"),
]

#: seconds in which calls are counted, and the least time from one look to the next
WINDOW, FLOOR = 4.0, 0.5
MANY = 60


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """Have each call of Slurm's programs noted, by scripts that stand before them on PATH."""
    folder, noted, real = tmp_path / "counted", tmp_path / "calls", os.environ["PATH"]
    folder.mkdir()
    noted.touch()
    for program in ("sbatch", "squeue", "sacct", "scontrol", "scancel"):
        script = folder / program
        script.write_text(f'#!/bin/sh\necho {program} >>{noted}\nPATH={real} exec {program} "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{real}")
    return lambda: Counter(noted.read_text().split())


async def window(calls: Callable[[], Counter[str]]) -> Counter[str]:
    """Count the calls of some seconds in which nothing is done but following."""
    before = calls()
    await asyncio.sleep(WINDOW)
    return calls() - before


async def test_following_costs_the_same_for_any_number(workers: Workers, calls: Callable[[], Counter[str]]):
    """No job: no process is started. One or many that wait: one squeue for a look, and nothing else."""
    found = {}
    async with workers.worker(f"poll_floor={FLOOR}", f"poll_first={FLOOR}"):
        await asyncio.sleep(1)
        found[0] = await window(calls)
        keys: list[TaskKey] = []
        for jobs in (1, MANY):
            keys += [await workers.submit("-H", "--wrap", "true") for _ in range(jobs - len(keys))]

            async def all_wait() -> bool:
                records = [(await workers.lab.entry(key)).value for key in keys]  # noqa: B023 -- used at once
                return all("JobHeldUser" in (record.reason or "") for record in records)

            await until(all_wait, 90)
            found[jobs] = await window(calls)
    assert found[0] == Counter()
    assert {jobs: set(counted) for jobs, counted in found.items() if jobs} == {
        1: {"squeue"},
        MANY: {"squeue"},
    }
    assert all(1 <= found[jobs]["squeue"] <= WINDOW / FLOOR + 1 for jobs in (1, MANY))
