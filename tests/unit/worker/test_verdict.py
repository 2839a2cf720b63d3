"""How an attempt ended: what the executor says, what the command was ended for, its exit code."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from qme.contracts.tasks import CancelRequest, Outcome
from qme.executor.attempts import Exit
from qme.executor.base import Result
from qme.worker.verdict import judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WISH = CancelRequest(by="ann", at=NOW, reason="enough")
#: written before the command ended, while no worker was there to fulfil it
EARLIER = CancelRequest(by="ann", at=datetime.fromtimestamp(1.5, UTC))


def ended(status: int, ended_for: str | None = None) -> Exit:
    """Make the end of a command."""
    return Exit(status, 0.1, 0.1, 100, 1.0, 2.0, None, ended_for)


@pytest.mark.parametrize(
    ("result", "code", "cancel", "outcome"),
    [
        (Result(0), ended(0), None, Outcome.SUCCESS),
        (Result(3), ended(3), None, Outcome.FAILED),
        (Result(143), ended(-15, "cancel"), WISH, Outcome.CANCELLED),
        (Result(0), ended(0, "cancel"), WISH, Outcome.CANCELLED),
        # the wish came when it had ended by itself: what really happened counts
        (Result(0), ended(0), WISH, Outcome.SUCCESS),
        (Result(1), ended(1), WISH, Outcome.FAILED),
        (Result(0), ended(0), EARLIER, Outcome.CANCELLED),
        (Result(137), ended(-9, "timeout"), None, Outcome.TIMEOUT),
        # ended for its time first, cancelled then
        (Result(137), ended(-9, "timeout"), WISH, Outcome.TIMEOUT),
        (Result(1, Outcome.OUT_OF_MEMORY), ended(1, "cancel"), WISH, Outcome.OUT_OF_MEMORY),
        (Result(None), None, WISH, Outcome.CANCELLED),
        (Result(None), None, None, Outcome.FAILED),
        (Result(0), None, None, Outcome.SUCCESS),
    ],
)
def test_outcome(result: Result, code: Exit | None, cancel: CancelRequest | None, outcome: Outcome) -> None:
    """The executor's word counts most, then what the command was ended for, then its code."""
    assert judge(1, result, code, cancel, {}, NOW).outcome is outcome


def test_what_was_exported_stays() -> None:
    """The end brings everything exported, with the result's data over it and the code kept when cancelled."""
    event = judge(2, Result(143, data={"b": 2}), ended(-15, "cancel"), WISH, {"a": 1, "b": 1}, NOW)
    assert event.data == {"a": 1, "b": 2, "returncode": 143}
    assert (event.attempt, event.reason) == (2, "cancelled by ann: enough")
    assert (event.started, event.at) == (datetime.fromtimestamp(1.0, UTC), datetime.fromtimestamp(2.0, UTC))


def test_an_end_is_never_before_its_start() -> None:
    """Whoever subtracts the two finds no negative time where the clock was set back while the command ran."""
    back = Exit(0, 0.1, 0.1, 100, started=7200.0, finished=5.0)
    end = judge(1, Result(0), back, None, {}, NOW)
    assert end.started == end.at == datetime.fromtimestamp(7200.0, UTC)
