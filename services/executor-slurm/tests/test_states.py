"""What states and exit codes mean for a task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import states
from qme_executor_slurm.states import STATES, Ending, ExitCode, worst

QUEUED, RUNNING, COMPLETE = Status.QUEUED, Status.RUNNING, Status.COMPLETE

MAP = {
    "PENDING": (QUEUED, None),
    "CONFIGURING": (QUEUED, None),
    "POWER_UP_NODE": (QUEUED, None),
    "REQUEUED": (QUEUED, None),
    "REQUEUE_FED": (QUEUED, None),
    "REQUEUE_HOLD": (QUEUED, None),
    "SPECIAL_EXIT": (QUEUED, None),
    "RESV_DEL_HOLD": (QUEUED, None),
    "LAUNCH_FAILED": (QUEUED, None),
    "RUNNING": (RUNNING, None),
    "COMPLETING": (RUNNING, None),
    "STAGE_OUT": (RUNNING, None),
    "SIGNALING": (RUNNING, None),
    "RESIZING": (RUNNING, None),
    "SUSPENDED": (RUNNING, None),
    "STOPPED": (RUNNING, None),
    "REVOKED": (RUNNING, None),
    "COMPLETED": (COMPLETE, Outcome.SUCCESS),
    "FAILED": (COMPLETE, Outcome.FAILED),
    "RECONFIG_FAIL": (COMPLETE, Outcome.FAILED),
    "TIMEOUT": (COMPLETE, Outcome.TIMEOUT),
    "OUT_OF_MEMORY": (COMPLETE, Outcome.OUT_OF_MEMORY),
    "NODE_FAIL": (COMPLETE, Outcome.NODE_FAIL),
    "BOOT_FAIL": (COMPLETE, Outcome.NODE_FAIL),
    "DEADLINE": (COMPLETE, Outcome.DEADLINE),
    "PREEMPTED": (COMPLETE, Outcome.PREEMPTED),
    "CANCELLED": (Status.CANCELLED, Outcome.CANCELLED),
    "EXPEDITING": (None, None),
    "UPDATE_DB": (None, None),
}


def test_every_state_of_slurm_has_its_meaning():
    """The table of the documents, state by state."""
    assert {name: (found.status, found.outcome) for name, found in STATES.items()} == MAP


def test_some_endings_may_be_taken_back():
    """After them Slurm may run the job again."""
    assert {name for name, found in STATES.items() if found.provisional} == {
        "NODE_FAIL",
        "BOOT_FAIL",
        "PREEMPTED",
    }


def test_the_clusters_faults_are_told_from_the_jobs():
    """So that a retry can be for the one and not for the other."""
    infra = {name for name, found in STATES.items() if found.outcome and found.fault == "infra"}
    assert infra == {"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "RECONFIG_FAIL"}


@pytest.mark.parametrize("state", ["CANCELLED", "CANCELLED by 1000", "CANCELLED+", " CANCELLED by 1000 "])
def test_what_hangs_on_a_state_does_not_hide_it(state: str):
    """Accounting adds a uid, or cuts it off."""
    found = states.ending(state)
    assert found is not None
    assert (found.state, found.status, found.outcome) == ("CANCELLED", Status.CANCELLED, Outcome.CANCELLED)


def test_who_cancelled_is_kept():
    """Accounting says the uid; the reason repeats it."""
    found = states.ending("CANCELLED by 1000")
    assert found is not None
    assert found.reason == "the job was cancelled in Slurm by uid 1000"


@given(st.text().filter(lambda text: states.base(text) not in STATES))
def test_an_unknown_state_is_no_ending(state: str):
    """Whatever a newer Slurm says, nothing is concluded from it."""
    assert states.meaning(state) is None
    assert states.ending(state, ExitCode(1, 0)) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0:0", ExitCode(0, 0)),
        ("3:0", ExitCode(3, 0)),
        ("0:9", ExitCode(0, 9)),
        ("0", ExitCode(0, 0)),
        ("768", ExitCode(3, 0)),
        ("65280", ExitCode(255, 0)),
        ("9", ExitCode(0, 9)),
        ("253", ExitCode(0, 125)),
        ("4021", ExitCode(0, 53)),
        ("", None),
        ("N/A", None),
        ("3:", None),
        ("-1", None),
    ],
)
def test_an_exit_code_is_read_in_both_forms(text: str, code: ExitCode | None):
    """As sacct and scontrol print it, and as squeue does."""
    assert states.exit_code(text) == code


@pytest.mark.parametrize(
    ("state", "exited", "outcome", "returncode"),
    [
        ("COMPLETED", ExitCode(0, 0), Outcome.SUCCESS, 0),
        ("COMPLETED", None, Outcome.SUCCESS, 0),
        ("COMPLETED", ExitCode(4, 0), Outcome.FAILED, 4),
        ("FAILED", ExitCode(3, 0), Outcome.FAILED, 3),
        ("FAILED", ExitCode(255, 0), Outcome.FAILED, 255),
        ("FAILED", ExitCode(0, 9), Outcome.FAILED, 137),
        ("FAILED", ExitCode(0, 15), Outcome.FAILED, 143),
        ("FAILED", ExitCode(0, 53), Outcome.FAILED, 181),
        ("FAILED", ExitCode(0, 0), Outcome.FAILED, 1),
        ("FAILED", None, Outcome.FAILED, 1),
        ("TIMEOUT", ExitCode(0, 0), Outcome.TIMEOUT, 124),
        ("OUT_OF_MEMORY", ExitCode(0, 125), Outcome.OUT_OF_MEMORY, 137),
        ("NODE_FAIL", ExitCode(0, 0), Outcome.NODE_FAIL, 1),
        ("BOOT_FAIL", ExitCode(0, 0), Outcome.NODE_FAIL, 1),
        ("PREEMPTED", ExitCode(0, 15), Outcome.PREEMPTED, 1),
        ("DEADLINE", ExitCode(1, 0), Outcome.DEADLINE, 1),
        ("CANCELLED", ExitCode(0, 15), Outcome.CANCELLED, 1),
    ],
)
def test_an_ending_has_the_exit_code_people_expect(
    state: str, exited: ExitCode | None, outcome: Outcome, returncode: int
):
    """The job's own code, 128 + signal, 124 and 137 as a shell says them, 1 for what has none."""
    found = states.ending(state, exited)
    assert found is not None
    assert (found.outcome, found.returncode) == (outcome, returncode)
    assert (found.reason is None) == (
        outcome in {Outcome.SUCCESS, Outcome.FAILED} and returncode not in {1, 181}
    )


def _ending(outcome: Outcome, code: int) -> Ending:
    return Ending(outcome.value, Status.COMPLETE, outcome, code)


def test_the_worst_element_speaks_for_the_array():
    """The highest exit code of those that did not succeed, as for sbatch --wait."""
    ok, bad = _ending(Outcome.SUCCESS, 0), _ending(Outcome.FAILED, 3)
    cancelled, killed = _ending(Outcome.CANCELLED, 1), _ending(Outcome.OUT_OF_MEMORY, 137)
    assert worst([ok, ok]) is ok
    assert worst([ok, cancelled]) is cancelled
    assert worst([cancelled, bad, ok]) is bad
    assert worst([bad, killed, cancelled]) is killed
    with pytest.raises(ValueError, match="empty"):
        worst([])
