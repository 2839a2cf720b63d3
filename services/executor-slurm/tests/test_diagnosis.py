"""What `qme doctor` says of Slurm, from made-up answers of its programs."""

from __future__ import annotations

import pytest

from qme.executor import Check
from qme_executor_slurm import diagnosis

CONFIG = {
    "MaxJobCount": "10000",
    "MaxArraySize": "1001",
    "MinJobAge": "300 sec",
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageEnforce": "associations,limits,qos",
}


@pytest.mark.parametrize(
    ("missing", "state", "said"),
    [
        ([], "ok", "slurm 22.05.8: sbatch, squeue, scontrol, scancel, sacct"),
        (["sacct"], "degraded", "without sacct: endings are read from squeue alone"),
        (["squeue", "scancel"], "problem", "there is no squeue, scancel on PATH"),
    ],
)
def test_programs(missing: list[str], state: str, said: str):
    """Without sacct it works less well, without another one not at all."""
    found = diagnosis.clients("slurm 22.05.8", missing)
    assert (found.part, found.state) == ("clients", state)
    assert said in found.said


def test_a_host_without_slurm_is_no_problem():
    """Nor is one whose programs know of no cluster; an sbatch that is broken is."""
    assert diagnosis.no_clients().state == "absent"
    said = "sbatch: fatal: Could not establish a configuration source"
    assert diagnosis.no_version(said).state == "absent"
    assert diagnosis.no_version("no such library") == Check(
        "clients", "problem", "sbatch --version: no such library"
    )


def test_a_controller():
    """How soon it answers; or what is wrong, and what becomes of tasks."""
    assert diagnosis.controller(None, 0.0123) == Check("controller", "ok", "answered in 12 ms")
    found = diagnosis.controller("Slurmctld(primary) at login1 is DOWN ****", 0.1)
    assert found.state == "problem"
    assert found.said.startswith(
        "Slurmctld(primary) at login1 is DOWN. New tasks wait and are submitted when it is back"
    )


def test_limits():
    """As the cluster has them; a cluster that forgets ended jobs before we look needs accounting."""
    said = (
        "10000 jobs at a time, each element of an array counts; array elements below 1001; an ended job is remembered "
        "for 300 sec"
    )
    assert diagnosis.limits(CONFIG, 60) == Check("limits", "ok", said)
    hasty = diagnosis.limits({**CONFIG, "MinJobAge": "30 sec"}, 60)
    assert hasty.state == "degraded"
    assert hasty.said.endswith("for 30 sec, and looked at every 60 s: accounting has to tell its end")


def test_accounting():
    """Answers, does not, or is not kept at all."""
    assert diagnosis.accounting(CONFIG, None, 0.1) == Check("accounting", "ok", "answered in 100 ms")
    away = diagnosis.accounting(CONFIG, "sacct: error: refused", 0.1)
    assert (away.state, away.said.partition(".")[0]) == ("degraded", "sacct: error: refused")
    none = diagnosis.accounting(
        {**CONFIG, "AccountingStorageType": "accounting_storage/none"}, "disabled", 0.1
    )
    assert (none.state, none.said.partition(":")[0]) == ("degraded", "this cluster keeps no accounts")


@pytest.mark.parametrize(
    ("rows", "enforce", "said"),
    [
        (
            "normal||\nlong|20|\nshort|50|4\n",
            "limits",
            "long: at most 20 submitted per user; short: at most 50 submitted, 4 "
            "running per user; sbatch is tried again when it meets one",
        ),
        ("normal||\n", "limits", "no QOS limits a user's jobs"),
        ("long|20|\n", "associations", "this cluster enforces no limits of a QOS"),
    ],
)
def test_limits_of_a_qos(rows: str, enforce: str, said: str):
    """Those that hold, by name."""
    found = diagnosis.submit_limits({**CONFIG, "AccountingStorageEnforce": enforce}, rows)
    assert found == Check("QOS", "ok", said)


def test_limits_that_nobody_tells():
    """Sacctmgr is closed to users on some clusters."""
    assert diagnosis.submit_limits(CONFIG, None).state == "degraded"
