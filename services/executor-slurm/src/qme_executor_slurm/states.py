"""What Slurm's job states mean for a task: status, outcome, exit code. Data and pure functions.

A state that is not in the table changes nothing: a newer Slurm may know states that are no endings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from qme.contracts.tasks import Outcome, Status

Fault = Literal["job", "infra"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one state says. With an outcome the job has ended, else `status` holds now; neither: nothing changes."""

    status: Status | None
    outcome: Outcome | None = None
    #: Slurm may yet run it again under the same id
    provisional: bool = False
    #: it waits for somebody to act, not for its turn
    held: bool = False
    #: whose doing a bad ending is: the job's own, or the cluster's
    fault: Fault = "job"


@dataclass(frozen=True, slots=True)
class ExitCode:
    """How the batch script ended: its exit code, or the signal that ended it."""

    code: int
    signal: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job, or one element of an array, ended."""

    state: str
    status: Status
    outcome: Outcome
    returncode: int
    fault: Fault | None = None
    reason: str | None = None


_QUEUED = Meaning(Status.QUEUED)
_HELD = Meaning(Status.QUEUED, held=True)
_RUNNING = Meaning(Status.RUNNING)
_UNCHANGED = Meaning(None)


def _ended(outcome: Outcome, *, provisional: bool = False, fault: Fault = "job") -> Meaning:
    return Meaning(Status.COMPLETE, outcome, provisional, fault=fault)


STATES: dict[str, Meaning] = {
    "PENDING": _QUEUED,
    "CONFIGURING": _QUEUED,
    "POWER_UP_NODE": _QUEUED,
    "REQUEUED": _QUEUED,
    "REQUEUE_FED": _QUEUED,
    "REQUEUE_HOLD": _HELD,
    "SPECIAL_EXIT": _HELD,
    "RESV_DEL_HOLD": _HELD,
    "LAUNCH_FAILED": _HELD,
    "RUNNING": _RUNNING,
    "COMPLETING": _RUNNING,  # it ended, but its exit code does not count yet
    "STAGE_OUT": _RUNNING,
    "SIGNALING": _RUNNING,
    "RESIZING": _RUNNING,
    "SUSPENDED": _RUNNING,
    "STOPPED": _RUNNING,
    "REVOKED": _RUNNING,  # a federation's other cluster runs it
    "COMPLETED": _ended(Outcome.SUCCESS),
    "FAILED": _ended(Outcome.FAILED),
    "RECONFIG_FAIL": _ended(Outcome.FAILED, fault="infra"),
    "TIMEOUT": _ended(Outcome.TIMEOUT),
    "OUT_OF_MEMORY": _ended(Outcome.OUT_OF_MEMORY),
    "NODE_FAIL": _ended(Outcome.NODE_FAIL, provisional=True, fault="infra"),
    "BOOT_FAIL": _ended(Outcome.NODE_FAIL, provisional=True, fault="infra"),
    "DEADLINE": _ended(Outcome.DEADLINE),
    "PREEMPTED": _ended(Outcome.PREEMPTED, provisional=True, fault="infra"),
    "CANCELLED": Meaning(Status.CANCELLED, Outcome.CANCELLED),
    "EXPEDITING": _UNCHANGED,
    "UPDATE_DB": _UNCHANGED,
}

#: reasons of a pending job that no turn in the queue will end
HELD_REASONS = frozenset(
    {
        "JobHeldUser", "JobHeldAdmin", "BeginTime", "Dependency", "DependencyNeverSatisfied", "BadConstraints",
        "PartitionConfig", "PartitionDown", "PartitionInactive", "PartitionTimeLimit",
    }
)  # fmt: skip

#: what Slurm shows where there is no reason
NO_REASON = frozenset({"None", ""})

#: what Slurm puts in a signal's place when it could not open the output file, or enter the working directory
_NO_OUTPUT_FILE = 53
_FIXED_CODES = {Outcome.TIMEOUT: 124, Outcome.OUT_OF_MEMORY: 137}
_REASONS = {
    Outcome.TIMEOUT: "Slurm ended the job at its time limit",
    Outcome.OUT_OF_MEMORY: "Slurm ended the job for the memory it used",
    Outcome.NODE_FAIL: "a node of the job failed",
    Outcome.DEADLINE: "the job could not end before its deadline",
    Outcome.PREEMPTED: "the job had to make way for another",
    Outcome.CANCELLED: "the job was cancelled in Slurm",
}
_STATE = re.compile(r"\s*([A-Z_]+)\+?(?: by (\S+))?\s*")


def base(state: str) -> str:
    """Give a state without what may hang on it (``CANCELLED by 1000``, ``CANCELLED+``)."""
    found = _STATE.fullmatch(state)
    return found[1] if found else state.strip()


def cancelled_by(state: str) -> str | None:
    """Give the uid that accounting names in ``CANCELLED by 1000``."""
    found = _STATE.fullmatch(state)
    return found[2] if found else None


def meaning(state: str) -> Meaning | None:
    """Say what a state means; None for one that is not known here."""
    return STATES.get(base(state))


def exit_code(text: str) -> ExitCode | None:
    """Read an exit code: ``3:0`` and ``0:9`` of sacct and scontrol, or squeue's plain number (as wait(2) gives it).

    sacct takes 128 from codes of 128 and more (137 becomes 9, 128 becomes 0); the other two tell them as they are.
    """
    code, colon, signal = text.strip().partition(":")
    if not code.isdecimal() or (colon and not signal.isdecimal()):
        return None
    if colon:
        return ExitCode(int(code), int(signal))
    number = int(code) & 0x7F
    return ExitCode(0 if number else int(code) >> 8, number)


def ending(state: str, exited: ExitCode | None = None) -> Ending | None:
    """Say how a job in this state ended; None when the state is no ending, or unknown.

    The exit code is the job's own, 128 + n for signal n, 124 for its time limit, 137 for memory, 1 for all else bad.
    """
    found = meaning(state)
    if found is None or found.outcome is None or found.status is None:
        return None
    outcome, status = found.outcome, found.status
    code = exited.code or (128 + exited.signal if exited.signal else 0) if exited else 0
    if outcome is Outcome.SUCCESS and code:
        outcome = Outcome.FAILED
    if outcome is Outcome.SUCCESS:
        return Ending(base(state), status, outcome, 0)
    reason = _REASONS.get(outcome)
    fault = found.fault
    if outcome is not Outcome.FAILED:
        code = _FIXED_CODES.get(outcome, 1)
    elif exited and exited.signal == _NO_OUTPUT_FILE:
        reason = "Slurm could not open the job's output file, or enter its working directory (0:53)"
    elif not code:
        code, reason = 1, "Slurm gives no exit code"
    if by := cancelled_by(state):
        reason = f"{reason} by uid {by}"
    return Ending(base(state), status, outcome, code, fault, reason)


def worst(endings: Iterable[Ending]) -> Ending:
    """Give the ending that speaks for several: the one with the highest exit code, the first of equals.

    Raises ValueError when there are none.
    """
    return max(endings, key=lambda ending: ending.returncode)
