"""`qme doctor` on a login node: what works, what does not and what becomes of tasks meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster


def doctor(qme: Stack, **env: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run it: the exit code, and Slurm's lines as state and text by part."""
    done = qme.qme("doctor", env=env)
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return done.returncode, {
        part.removeprefix("slurm "): (state, said) for part, state, said in rows if "slurm " in part
    }


def test_a_cluster_that_works(qme: Stack, slurm: Cluster):
    """Programs, controller, accounting, and the limits that this cluster really has."""
    code, found = doctor(qme)
    assert code == 0
    assert {part: state for part, (state, _) in found.items()} == dict.fromkeys(
        ("clients", "controller", "accounting", "limits", "QOS"), "ok"
    )
    assert "20000 jobs at a time" in found["limits"][1]
    assert "array elements below 5001" in found["limits"][1]
    assert "remembered for 300 sec" in found["limits"][1]


def test_limits_of_a_qos(qme: Stack, slurm: Cluster):
    """They are told as far as the cluster enforces them, which this one does not."""
    slurm.ok(["sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=7"])
    try:
        _, found = doctor(qme)
    finally:
        slurm.ok(["sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=-1"])
    assert found["QOS"] == ("ok", "this cluster enforces no limits of a QOS")


def test_no_controller(qme: Stack, slurm: Cluster):
    """It is the one problem, said at once; accounting answers on."""
    with slurm.without("slurmctld"):
        code, found = doctor(qme)
    assert code == 1
    assert {part: state for part, (state, _) in found.items()} == {
        "clients": "ok",
        "controller": "problem",
        "accounting": "ok",
    }
    assert "DOWN" in found["controller"][1]
    assert "New tasks wait and are submitted when it is back" in found["controller"][1]


def test_no_accounting(qme: Stack, slurm: Cluster):
    """Tasks go on, and what is worse then is said."""
    with slurm.without("slurmdbd"):
        code, found = doctor(qme)
    assert code == 0
    assert {part: state for part, (state, _) in found.items()} == {
        "clients": "ok",
        "controller": "ok",
        "accounting": "degraded",
        "limits": "ok",
        "QOS": "degraded",
    }
    assert "Until it answers, endings are read from squeue alone" in found["accounting"][1]


def test_daemons_that_hang(qme: Stack, slurm: Cluster):
    """Nobody waits for them longer than some seconds."""
    with slurm.hung("slurmctld"), slurm.hung("slurmdbd"):
        code, found = doctor(qme)
    assert code == 1
    assert (found["controller"][0], found["accounting"][0]) == ("problem", "degraded")


def test_no_slurm(qme: Stack, slurm: Cluster, tmp_path: Path):
    """There is no sbatch: this is no host for such tasks, and that is no fault."""
    for program in ("env", "python3"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    code, found = doctor(qme, PATH=str(tmp_path))
    assert (code, found["clients"][0], len(found)) == (0, "absent", 1)
