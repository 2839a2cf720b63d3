"""How an attempt ended, from what its executor returned and how its command was seen to end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from qme.contracts.resources import size
from qme.contracts.tasks import CancelRequest, Outcome
from qme.executor.attempts import Exit
from qme.executor.base import Result
from qme.lifecycle import Ended
from qme.worker.export import plain

#: begins what a command was ended for that used too much memory: the keeper remembers it with both figures, so that
#: they are known to whoever words the end
OVER = "memory"


def over(used: int, limit: int) -> str:
    """Word what a command is ended for, in bytes."""
    return f"{OVER} {used} {limit}"


def wish(cancel: CancelRequest | None) -> str:
    """Say who wanted the task ended."""
    if cancel is None:
        return "cancelled"
    return f"cancelled by {cancel.by}" + (f": {cancel.reason}" if cancel.reason else "")


def judge(
    attempt: int,
    result: Result,
    code: Exit | None,
    cancel: CancelRequest | None,
    exported: Mapping[str, Any],
    now: datetime,
) -> Ended:
    """Word the end of an attempt.

    Where the executor gives no outcome: what the command was ended for counts, and only if it had not ended by itself
    before that (the keeper knows the order). A wish to cancel that is older than the end counts too, though nobody was
    there to fulfil it: whoever asked was told that it would be. `code` is None where there was no command of ours.
    """
    outcome, reason = result.outcome, result.reason
    ended_for = code.ended_for if code else None
    if ended_for is None and cancel is not None and (code is None or cancel.at.timestamp() < code.finished):
        ended_for = "cancel"
    if outcome is None and ended_for == "cancel":
        outcome, reason = Outcome.CANCELLED, reason or wish(cancel)
    elif outcome is None and ended_for == "timeout":
        outcome, reason = Outcome.TIMEOUT, reason or "ended at its time limit"
    elif outcome is None and ended_for == "output":
        outcome, reason = (
            Outcome.FAILED,
            reason or "ended by this worker's rule output_limit: it wrote too much",
        )
    elif outcome is None and (figures := _figures(ended_for)):
        used, limit = figures
        outcome = Outcome.OUT_OF_MEMORY
        reason = reason or f"it used {size(used)} of memory, more than the {size(limit)} that it asked for"
    elif outcome is None:
        outcome = Outcome.SUCCESS if result.returncode == 0 else Outcome.FAILED
    data = {**exported, **plain(result.data)}
    if result.returncode is not None:
        data["returncode"] = result.returncode
    started = result.started or (datetime.fromtimestamp(code.started, UTC) if code else None)
    finished = result.finished or (
        # Of a clock that was set back meanwhile; nobody who subtracts shall find less than nothing.
        datetime.fromtimestamp(max(code.finished, code.started), UTC) if code else now
    )
    return Ended(attempt, outcome, finished, data, reason, started)


def _figures(ended_for: str | None) -> tuple[int, int] | None:
    match (ended_for or "").split():
        case [word, used, limit] if word == OVER and used.isdigit() and limit.isdigit():
            return int(used), int(limit)
    return None
