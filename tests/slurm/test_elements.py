"""Elements of a job array as people meet them: the table, one element's record and output, the end of some."""

from __future__ import annotations

import json

from tests.integration.stack import Stack
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.tasks import standing, submitted


def test_a_row_for_each_element(qme: Stack, slurm: Cluster) -> None:
    """`get` shows them all, `get ID[n]` some, `logs ID[n]` what one of them wrote; `logs ID` says how to ask."""
    script = "echo element $SLURM_ARRAY_TASK_ID; echo oh >&2; exit $SLURM_ARRAY_TASK_ID"
    uid = submitted(qme, slurm, "-a", "0-2", "-o", "e-%A-%a.out", "-e", "e-%A-%a.err", "--wrap", script)
    assert qme.qme("wait", uid).returncode == 2
    array = qme.record(uid)["data"]["array"]
    counts = {"total": 3, "success": 1, "failed": 2}
    told = {
        name: (one["state"], one["outcome"], one["returncode"]) for name, one in array["elements"].items()
    }
    assert {name: array[name] for name in counts} == counts
    assert told == {
        "0": ("COMPLETED", "success", 0),
        "1": ("FAILED", "failed", 1),
        "2": ("FAILED", "failed", 2),
    }
    assert {one["node"] for one in array["elements"].values()} <= {"n1", "n2"}
    assert json.loads(qme.ok("get", f"{uid}[1]")) == {"uid": uid, "element": "1", **array["elements"]["1"]}
    assert [one["element"] for one in json.loads(qme.ok("get", f"{uid}[0,2]"))] == ["0", "2"]
    both = qme.qme("logs", "--both", f"{uid}[2]")
    assert (both.stdout, both.stderr) == (b"element 2\n", b"oh\n")
    assert b"read by element" in qme.qme("logs", uid).stderr


def test_some_elements_are_ended(qme: Stack, slurm: Cluster) -> None:
    """One that runs and one that waits, of which Slurm keeps no record; the others go on."""
    uid = submitted(qme, slurm, "-a", "0-3%2", "-o", "c-%A-%a.out", "--wrap", "echo begun; sleep 60")
    wait_until(lambda: states(qme, uid) == ["RUNNING", "RUNNING", "PENDING", "PENDING"], 20)
    assert qme.ok("logs", f"{uid}[1]") == "begun\n"
    slurm.ok(["scontrol", "hold", f"{qme.record(uid)['data']['jobid']}_3"])
    done = qme.qme("cancel", f"{uid}[1-2]")
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    wait_until(lambda: states(qme, uid) == ["RUNNING", "CANCELLED", "CANCELLED", "PENDING"], 20)
    assert standing(qme, uid, status="running")
    strange = qme.qme("cancel", f"{uid}[7]", uid)
    assert strange.returncode == 3
    assert b"has no element 7" in strange.stderr
    qme.qme("wait", uid)
    assert states(qme, uid) == ["CANCELLED"] * 4


def states(qme: Stack, uid: str) -> list[str]:
    """The states of an array's elements, in order."""
    elements = qme.record(uid)["data"].get("array", {}).get("elements", {})
    return [one["state"] for one in elements.values()]
