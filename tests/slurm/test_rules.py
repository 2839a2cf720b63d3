"""What a Slurm worker's rules refuse never reaches Slurm; what a waiting job waits for; signals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.integration.stack import Stack, until
from tests.slurm.cluster import Cluster
from tests.slurm.tasks import standing, submitted
from tests.slurm.workers import Workers

from qme.contracts.tasks import Outcome
from qme_executor_slurm import SlurmExecutor, SlurmSettings


async def test_what_is_refused_is_no_job(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option, by script, by folder, by a program that is called so; the same worker submits what it allows."""
    monkeypatch.setenv("SLURM_CONF", str(workers.slurm.conf))
    work = workers.slurm.work
    fake, script, sly = work / "sbatch", work / "rules.sh", work / "sly.sh"
    fake.write_text(f"#!/bin/sh\ntouch {work}/mark\n")
    script.write_text("#!/bin/sh\n#SBATCH -o %x.out\necho allowed\n")
    sly.write_text("#!/bin/sh\n#SBATCH --export=ALL,A=1\n:\n")
    for one in (fake, script, sly):
        one.chmod(0o755)
    settings = SlurmSettings(poll_first=0.5, poll_floor=0.3, poll_longest=2.0)
    settings = replace(settings, allow=((r"/usr(/local)?/bin/sbatch",),), directories=(work,))
    executor = SlurmExecutor(settings)
    lab = workers.lab
    async with lab.worker(executor, bus=await workers._server.connect(lab.bus.user)):
        refused = {
            await workers.submit("--wrap", f"touch {work}/mark"): " options_deny: sbatch --wrap",
            await workers.submit("sly.sh"): " options_deny: sbatch --export",
            await workers.submit("none.sh"): "s: the script none.sh is not found",
            await workers.submit("-D", "/", "rules.sh"): " directories: --chdir / is not below",
            await lab.submit(
                "./sbatch", "rules.sh", cwd=str(work)
            ): f" allow: the program {work}/sbatch is not",
            await lab.submit(
                "sbatch", "rules.sh", cwd="/"
            ): " directories: the working folder / is not below",
        }
        for key, says in refused.items():
            record = await lab.ended(key)
            assert record.outcome is Outcome.SUBMIT_FAILED
            assert (record.reason or "").startswith(f"refused by this worker's rule{says}")
            assert workers.jobs(key) == []
        assert not (work / "mark").exists()
        allowed = await workers.submit("rules.sh")
        (record,) = await workers.ended([allowed])
        assert record.outcome is Outcome.SUCCESS
        assert len(workers.jobs(allowed)) == 1
        assert (work / f"{script.name}.out").read_text() == "allowed\n"


def test_why_a_job_waits_and_a_signal(qme: Stack, slurm: Cluster) -> None:
    """Slurm's own reason, with what it means; the running job gets the signal and goes on with it."""
    held = submitted(qme, slurm, "-H", "--wrap", "true")
    until(lambda: standing(qme, held, slurm_reason="JobHeldUser"))
    said = [one["says"] for one in json.loads(qme.ok("why", held, "--json"))["obstacles"]]
    assert any("Slurm says JobHeldUser (it is held; `qme exec ID release` lets it go)" in one for one in said)
    qme.ok("cancel", held)

    job = "trap 'echo got it; exit 5' USR1; echo up; while :; do sleep 0.2; done"
    task = submitted(qme, slurm, "--wrap", job)
    until(lambda: "up" in qme.ok("logs", task))
    done = qme.qme("cancel", "--signal", "USR1", task)
    assert (done.returncode, b"Slurm was told to send USR1 to job" in done.stderr) == (0, True), done.stderr
    assert qme.qme("wait", task).returncode == 5
    assert "got it" in qme.ok("logs", task)
