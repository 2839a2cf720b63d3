"""How an attempt's part of a record is closed, goes into the history, and is put right there. No events' rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qme.contracts.tasks import Attempt, Outcome, Status, TaskRecord
from qme.lifecycle.records import KEPT_ATTEMPTS

#: characters of a record's reason: a sentence; more would crowd out the data of a record that has to fit a message
KEPT_SENTENCE = 1000
#: characters of a reason kept in an attempt's line, so that a line stays under 300 bytes
KEPT_REASON = 120


def close(record: TaskRecord, outcome: Outcome, at: datetime, reason: str | None) -> TaskRecord:
    """End the current attempt: nobody holds it and nothing is due."""
    status = {Outcome.CANCELLED: Status.CANCELLED, Outcome.LOST: Status.LOST}.get(outcome, Status.COMPLETE)
    changes: dict[str, Any] = {
        "status": status,
        "outcome": outcome,
        "finished": at,
        "reason": sentence(reason),
        "claim": None,
        "released": None,
        "not_before": None,
        "waiting_for": None,
    }
    return record.model_copy(update=changes)


def begin_next(
    ended: TaskRecord, outcome: Outcome, *, retries: int, not_before: datetime | None, corrected: bool
) -> TaskRecord:
    """Move the ended attempt into the history and begin the next one, waiting for its release."""
    past = Attempt(
        attempt=ended.attempt,
        outcome=outcome,
        worker=ended.worker,
        started=ended.started,
        finished=ended.finished,
        returncode=_returncode(ended.data),
        reason=ended.reason[:KEPT_REASON] if ended.reason else None,
    )
    changes: dict[str, Any] = {
        "status": Status.QUEUED,
        "outcome": None,
        "reason": None,
        "attempt": ended.attempt + 1,
        "attempts": (*ended.attempts, past)[-KEPT_ATTEMPTS:],
        "started": None,
        "finished": None,
        "worker": None,
        "claim": None,
        "released": None,
        "not_before": not_before,
        "unmet": None,
        "cancel": None,
        "provisional": False,
        "corrected": corrected,
        "retries": retries,
        "data": {},
    }
    return ended.model_copy(update=changes)


def sentence(reason: str | None) -> str | None:
    """Cut a reason to what a record keeps."""
    return reason[:KEPT_SENTENCE] if reason else reason


def corrected_history(
    record: TaskRecord,
    attempt: int,
    outcome: Outcome,
    at: datetime,
    reason: str | None,
    data: Mapping[str, Any],
) -> TaskRecord:
    """Put right the line of an earlier attempt that stands there as lost; the record as it is where there is none."""
    lines = list(record.attempts)
    for index, line in enumerate(lines):
        if line.attempt == attempt and line.outcome is Outcome.LOST and outcome is not Outcome.LOST:
            changes = {
                "outcome": outcome,
                "finished": at,
                "returncode": _returncode(data),
                "reason": reason[:KEPT_REASON] if reason else None,
            }
            lines[index] = line.model_copy(update=changes)
            return record.model_copy(update={"attempts": tuple(lines)})
    return record


def _returncode(data: Mapping[str, Any]) -> int | None:
    code = data.get("returncode")
    return code if isinstance(code, int) else None
