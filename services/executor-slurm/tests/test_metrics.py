"""What a worker tells of Slurm on its page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from qme_executor_slurm import SlurmExecutor, SlurmSettings, parsers
from qme_executor_slurm.answers import read
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.metrics import SlurmMetrics
from qme_executor_slurm.pace import Limits
from qme_executor_slurm.parsers import DIVIDER
from qme_executor_slurm.poller import Poller
from qme_executor_slurm.polling import Rules


def page(metrics: SlurmMetrics) -> dict[str, float]:
    """The series and their values."""
    registry = CollectorRegistry()
    metrics.register(registry)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_everything_is_there_from_the_start():
    """At 0, so that a first event is a rise; also the rare ones."""
    executor = SlurmExecutor(SlurmSettings())
    registry = CollectorRegistry()
    executor.measure(registry)
    text = generate_latest(registry).decode()
    for series in (
        'qme_slurm_sbatch_total{result="unclear"} 0.0',
        "qme_slurm_submit_recovered_total 0.0",
        'qme_slurm_polls_total{result="failed"} 0.0',
        "qme_slurm_unknown_states_total 0.0",
        "qme_slurm_jobs_followed 0.0",
        'qme_slurm_commands_total{command="sacct",result="timeout"} 0.0',
    ):
        assert series in text


def test_calls_of_sbatch_are_counted_by_what_came_of_them():
    """Accepted, and each verdict."""
    metrics = SlurmMetrics()
    for answer in (
        read("7\n", "", 0),
        read("", "sbatch: error: Unable to open file x\n", 1),
        read("", "", None),
    ):
        metrics.sbatch(answer)
    found = {name: value for name, value in page(metrics).items() if "sbatch_total" in name and value}
    assert found == {
        'qme_slurm_sbatch_total{result="accepted"}': 1,
        'qme_slurm_sbatch_total{result="refused"}': 1,
        'qme_slurm_sbatch_total{result="unclear"}': 1,
    }


async def test_commands_are_counted(tmp_path, monkeypatch):
    """What answered, what failed and what took too long; of what answered, also when."""
    for name, does in {"squeue": "true", "sacct": "exit 1", "scontrol": "sleep 60"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    slurm = Slurm(0.5, 1000)
    await slurm.queue(None)
    for asked in (slurm.accounts([7], datetime.now(UTC), None), slurm.config()):
        with pytest.raises(NoAnswer):
            await asked
    found = page(slurm.metrics)
    counts = {name: value for name, value in found.items() if "commands_total" in name and value}
    assert counts == {
        'qme_slurm_commands_total{command="squeue",result="ok"}': 1,
        'qme_slurm_commands_total{command="sacct",result="error"}': 1,
        'qme_slurm_commands_total{command="scontrol",result="timeout"}': 1,
    }
    stamps = {name: value > 0 for name, value in found.items() if "last_success" in name}
    assert [name for name, was in stamps.items() if was] == [
        'qme_slurm_last_success_timestamp_seconds{command="squeue"}'
    ]


class Strange(Slurm):
    """Shows jobs in a state that nobody knows."""

    async def told(self, argv):
        """Answer."""
        values = {"JobArrayID": "7", "State": "HIBERNATING", "Comment": "qme:u:1"}
        return "".join(values.get(name, "") + DIVIDER for name in parsers.QUEUE_COLUMNS) + "\n"


async def test_jobs_and_looks_are_counted():
    """How many are followed now; an unknown state once, not at each look."""
    slurm = Strange(1.0, 1000)
    poller = Poller(slurm, Limits(), Rules())
    watch = poller.add(Job(7, datetime.now(UTC), ("u", 1)), None)
    await poller.cycle()
    await poller.cycle()
    found = page(slurm.metrics)
    assert found["qme_slurm_jobs_followed"] == 1
    assert found["qme_slurm_unknown_states_total"] == 1
    assert found['qme_slurm_polls_total{result="ok"}'] == 2
    poller.discard(watch)
    assert page(slurm.metrics)["qme_slurm_jobs_followed"] == 0
